# Installs what `cargo build --release` made, for all systems; `make deb` and `make rpm` make packages from the same files.
#
#   make && sudo make install                 into /usr/local, configuration in /etc
#   make install DESTDIR=/tmp/x PREFIX=/usr   into a directory, for a package
#   sudo make uninstall                       configuration, state and mail stay
#
# PROFILE=debug takes the binaries of `cargo build`.

PREFIX     = /usr/local
DESTDIR    =
SYSCONFDIR = /etc
SBINDIR    = $(PREFIX)/sbin
DATADIR    = $(PREFIX)/share
MANDIR     = $(DATADIR)/man
DOCDIR     = $(DATADIR)/doc/poptools
BASHDIR    = $(DATADIR)/bash-completion/completions
ZSHDIR     = $(DATADIR)/zsh/site-functions
FISHDIR    = $(DATADIR)/fish/vendor_completions.d
UNITDIR    = $(PREFIX)/lib/systemd/system
SYSUSERS   = $(PREFIX)/lib/sysusers.d
TMPFILES   = $(PREFIX)/lib/tmpfiles.d

CARGO      = cargo
PROFILE    = release
FEATURES   =
TARGET     = $(or $(CARGO_TARGET_DIR),target)
INSTALL    = install
DATA       = $(INSTALL) -D -m 644
OUT        = $(TARGET)/package

PROGRAMS  := $(sort $(basename $(notdir $(wildcard src/bin/*.rs))))
PAGES     := $(notdir $(wildcard man/*.[1-8]))
UNITS     := pop3d.socket pop3d.service pop3d@.service
DOCUMENTS := README.md ARCHITECTURE.md SECURITY.md CHANGELOG.md

# The same source gives the same octets, wherever it lies: no path of this machine is in a binary.
REMAP      = --remap-path-prefix=$(CURDIR)=/poptools --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo
C_REMAP    = -ffile-prefix-map=$(CURDIR)=/poptools -ffile-prefix-map=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo

.PHONY: all install install-programs install-documents install-services uninstall deb rpm check

all:
	RUSTFLAGS="$(REMAP)" CFLAGS="$(C_REMAP)" $(CARGO) build --profile $(subst debug,dev,$(PROFILE)) --locked $(if $(FEATURES),--features $(FEATURES))

install: install-programs install-documents install-services
	@[ -n "$(DESTDIR)" ] || sh contrib/advice

install-programs:
	for program in $(PROGRAMS); do \
		$(INSTALL) -D -m 755 $(TARGET)/$(PROFILE)/$$program $(DESTDIR)$(SBINDIR)/$$program || exit 1; \
	done

install-documents:
	for page in $(PAGES); do \
		$(DATA) man/$$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page || exit 1; \
	done
	for program in $(PROGRAMS); do \
		$(DATA) completions/$$program.bash $(DESTDIR)$(BASHDIR)/$$program && \
		$(DATA) completions/_$$program $(DESTDIR)$(ZSHDIR)/_$$program && \
		$(DATA) completions/$$program.fish $(DESTDIR)$(FISHDIR)/$$program.fish || exit 1; \
	done
	for document in $(DOCUMENTS); do $(DATA) $$document $(DESTDIR)$(DOCDIR)/$$document || exit 1; done
	for example in inetd.conf xinetd/pop3 xinetd/pop3s systemd/accept.conf systemd/tls.conf; do \
		$(DATA) contrib/$$example $(DESTDIR)$(DOCDIR)/examples/$$example || exit 1; \
	done
	sed -i 's,/usr/sbin/,$(SBINDIR)/,g' $(DESTDIR)$(DOCDIR)/examples/inetd.conf $(DESTDIR)$(DOCDIR)/examples/xinetd/*

# What is in /etc belongs to the administrator: a file that is there stays.
install-services:
	for unit in $(UNITS); do \
		$(DATA) contrib/systemd/$$unit $(DESTDIR)$(UNITDIR)/$$unit && \
		sed -i 's,/usr/sbin/pop3d,$(SBINDIR)/pop3d,g' $(DESTDIR)$(UNITDIR)/$$unit || exit 1; \
	done
	$(DATA) contrib/sysusers.d/poptools.conf $(DESTDIR)$(SYSUSERS)/poptools.conf
	$(DATA) contrib/tmpfiles.d/poptools.conf $(DESTDIR)$(TMPFILES)/poptools.conf
	while read -r from to; do \
		[ ! -e contrib/$$from ] || [ -e $(DESTDIR)$(SYSCONFDIR)/$$to ] || \
		$(DATA) contrib/$$from $(DESTDIR)$(SYSCONFDIR)/$$to || exit 1; \
	done <contrib/etc
	[ ! -e $(DESTDIR)$(SYSCONFDIR)/apparmor.d/usr.sbin.pop3d ] || \
		sed -i 's,/usr/sbin/pop3d,$(SBINDIR)/pop3d,g' $(DESTDIR)$(SYSCONFDIR)/apparmor.d/usr.sbin.pop3d

uninstall:
	cd $(DESTDIR)/ && rm -f \
		$(PROGRAMS:%=.$(SBINDIR)/%) $(foreach page,$(PAGES),.$(MANDIR)/man$(lastword $(subst ., ,$(page)))/$(page)) \
		$(PROGRAMS:%=.$(BASHDIR)/%) $(PROGRAMS:%=.$(ZSHDIR)/_%) $(PROGRAMS:%=.$(FISHDIR)/%.fish) \
		$(UNITS:%=.$(UNITDIR)/%) .$(SYSUSERS)/poptools.conf .$(TMPFILES)/poptools.conf
	rm -rf $(DESTDIR)$(DOCDIR)
	@echo "left as they are: mail, $(SYSCONFDIR)/poptools, /var/lib/poptools, and what stands in contrib/etc"

# Packages have PAM: libpam's headers are needed (Debian: libpam0g-dev).
deb rpm: FEATURES = pam

deb: $(if $(NO_BUILD),,all)
	contrib/debian/build $(PROFILE) $(OUT)

rpm: $(if $(NO_BUILD),,all)
	contrib/rpm/build $(PROFILE) $(OUT)

# Installs, uses, upgrades and removes the package in a new root, under systemd too; needs root and debootstrap.
check: $(if $(NO_BUILD),,all)
	contrib/debian/test $(PROFILE) life tour boot
