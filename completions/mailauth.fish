# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mailauth_global_optspecs
    string join \n config= h/help V/version
end

function __fish_mailauth_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mailauth_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mailauth_using_subcommand
    set -l cmd (__fish_mailauth_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mailauth -n "__fish_mailauth_needs_command" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_needs_command" -s h -l help -d 'Print help'
complete -c mailauth -n "__fish_mailauth_needs_command" -s V -l version -d 'Print version'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "init" -d 'Make the database and its key'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "add" -d 'Add a secret for a user'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "passwd" -d 'Change the secret of a user'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "remove" -d 'Remove the secrets of a user'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "list" -d 'List users and what they have secrets for'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "import" -d 'Add the secrets of a backup or another program\'s file, all or none'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "show" -d 'Show what is known of a user, without secrets'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "lock" -d 'Refuse logins of users'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "unlock" -d 'Allow logins of locked users again, and forget wrong passwords for them'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "limit" -d 'Limit when, from where and how often a user may log in'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "verify" -d 'Tell whether a secret is right'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "export" -d 'Write a backup'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "rekey" -d 'Seal all secrets by a new key'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "check" -d 'Look for what is wrong with database, key and entries'
complete -c mailauth -n "__fish_mailauth_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mailauth -n "__fish_mailauth_using_subcommand init" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand init" -l clear -d 'Empty a database that is there already, without asking'
complete -c mailauth -n "__fish_mailauth_using_subcommand init" -s h -l help -d 'Print help'
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l type -d 'What the secret is for' -r -f -a "APOP\t'A secret for APOP; the user cannot log in with PASS any more'
POP\t'An application password for PASS; the system\'s password is not good for it any more'
IMAP\t'A secret for IMAP servers that read the database'"
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l label -d 'Tell several application passwords of a user apart (with --type POP)' -r
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l uid -d 'The ids that own the virtual user\'s maildrop [default: those of auth.virtual_owner]' -r
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l home -d 'The virtual user\'s home directory [default: that of auth.virtual_owner]' -r -f -a "(__fish_complete_directories)"
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l maildrop -d 'The virtual user\'s maildrop [default: maildrop.path]' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l stdin -d 'Read the secret from standard input, one line'
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l generate -d 'Make a secret and print it once'
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l force -d 'Accept a secret that is short, easily guessed, or the login password'
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -l virtual -d 'Add a user who is no user of the system'
complete -c mailauth -n "__fish_mailauth_using_subcommand add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailauth -n "__fish_mailauth_using_subcommand passwd" -l type -d 'Change the secret of this type [default: that of the only entry]' -r -f -a "APOP\t'Secrets for APOP'
POP\t'Application passwords for PASS'
IMAP\t'Secrets for IMAP servers that read the database'"
complete -c mailauth -n "__fish_mailauth_using_subcommand passwd" -l label -d 'Change the application password with this label' -r
complete -c mailauth -n "__fish_mailauth_using_subcommand passwd" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand passwd" -l stdin -d 'Read the secret from standard input, one line'
complete -c mailauth -n "__fish_mailauth_using_subcommand passwd" -l generate -d 'Make a secret and print it once'
complete -c mailauth -n "__fish_mailauth_using_subcommand passwd" -l force -d 'Accept a secret that is short, easily guessed, or the login password'
complete -c mailauth -n "__fish_mailauth_using_subcommand passwd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailauth -n "__fish_mailauth_using_subcommand remove" -l type -d 'Remove the secrets of this type alone' -r -f -a "APOP\t'Secrets for APOP'
POP\t'Application passwords for PASS'
IMAP\t'Secrets for IMAP servers that read the database'"
complete -c mailauth -n "__fish_mailauth_using_subcommand remove" -l label -d 'Remove the application password with this label alone' -r
complete -c mailauth -n "__fish_mailauth_using_subcommand remove" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailauth -n "__fish_mailauth_using_subcommand list" -l type -d 'List the secrets of this type alone' -r -f -a "APOP\t'Secrets for APOP'
POP\t'Application passwords for PASS'
IMAP\t'Secrets for IMAP servers that read the database'"
complete -c mailauth -n "__fish_mailauth_using_subcommand list" -l format -d 'How to write the list [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailauth -n "__fish_mailauth_using_subcommand list" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailauth -n "__fish_mailauth_using_subcommand import" -l from -d 'What FILE is [default: what it looks like]' -r -f -a "popauth\t'Names and secrets XORed with 0xff, a line each: makedbm -u'
gdbm\t'A dump by gdbm_dump'
db\t'A dump by db_dump'
ndbm\t'The .pag file of an ndbm database'
mailutils\t'The list of mailutils\' popauth'
dovecot\t'Dovecot\'s passwd-file'
solid\t'A user\'s .spop3d of solid-pop3d'
csv\t'Lines user,type,secret[,label]'
backup\t'A backup by mailauth export'"
complete -c mailauth -n "__fish_mailauth_using_subcommand import" -l type -d 'What the secrets are for, where FILE does not say so [default: APOP]' -r -f -a "APOP\t'Secrets for APOP; the users cannot log in with PASS any more'
POP\t'Application passwords for PASS'"
complete -c mailauth -n "__fish_mailauth_using_subcommand import" -l format -d 'How to write the list of --dry-run [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailauth -n "__fish_mailauth_using_subcommand import" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand import" -l dry-run -d 'List what would happen and change nothing'
complete -c mailauth -n "__fish_mailauth_using_subcommand import" -l replace -d 'Give entries that are there already the new secrets'
complete -c mailauth -n "__fish_mailauth_using_subcommand import" -l virtual -d 'Take names that the system does not know as virtual users'
complete -c mailauth -n "__fish_mailauth_using_subcommand import" -l force -d 'Take secrets that break the rules for new ones'
complete -c mailauth -n "__fish_mailauth_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailauth -n "__fish_mailauth_using_subcommand show" -l format -d 'How to write it [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailauth -n "__fish_mailauth_using_subcommand show" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailauth -n "__fish_mailauth_using_subcommand lock" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand lock" -l retire -d 'Lock them for good: unlock alone does not undo it'
complete -c mailauth -n "__fish_mailauth_using_subcommand lock" -s h -l help -d 'Print help'
complete -c mailauth -n "__fish_mailauth_using_subcommand unlock" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand unlock" -l retired -d 'Unlock also who was retired'
complete -c mailauth -n "__fish_mailauth_using_subcommand unlock" -s h -l help -d 'Print help'
complete -c mailauth -n "__fish_mailauth_using_subcommand limit" -l hours -d 'Hours of local time, such as "mon-fri 08:00-18:00, sat 09:00-12:00", or any' -r
complete -c mailauth -n "__fish_mailauth_using_subcommand limit" -l networks -d 'Networks, such as 192.0.2.0/24,2001:db8::/32, or any' -r
complete -c mailauth -n "__fish_mailauth_using_subcommand limit" -l login-delay -d 'Seconds from one login to the next, or default for that of limits.login_delay' -r
complete -c mailauth -n "__fish_mailauth_using_subcommand limit" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand limit" -s h -l help -d 'Print help'
complete -c mailauth -n "__fish_mailauth_using_subcommand verify" -l type -d 'Try the secrets of this type alone' -r -f -a "APOP\t'Secrets for APOP'
POP\t'Application passwords for PASS'
IMAP\t'Secrets for IMAP servers that read the database'"
complete -c mailauth -n "__fish_mailauth_using_subcommand verify" -l from -d 'Where a client would log in from, such as 192.0.2.1' -r -f -a "(__fish_print_hostnames)"
complete -c mailauth -n "__fish_mailauth_using_subcommand verify" -l challenge -d 'The challenge of an APOP login, with its angle brackets' -r
complete -c mailauth -n "__fish_mailauth_using_subcommand verify" -l digest -d 'The digest that was sent with it, 32 hexadecimal digits' -r
complete -c mailauth -n "__fish_mailauth_using_subcommand verify" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand verify" -l stdin -d 'Read the secret from standard input, one line'
complete -c mailauth -n "__fish_mailauth_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailauth -n "__fish_mailauth_using_subcommand export" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand export" -l plain -d 'Write secrets that everybody can read who has the file (only the superuser may)'
complete -c mailauth -n "__fish_mailauth_using_subcommand export" -s h -l help -d 'Print help'
complete -c mailauth -n "__fish_mailauth_using_subcommand rekey" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand rekey" -s h -l help -d 'Print help'
complete -c mailauth -n "__fish_mailauth_using_subcommand check" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailauth -n "__fish_mailauth_using_subcommand check" -s h -l help -d 'Print help'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "init" -d 'Make the database and its key'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "add" -d 'Add a secret for a user'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "passwd" -d 'Change the secret of a user'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "remove" -d 'Remove the secrets of a user'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "list" -d 'List users and what they have secrets for'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "import" -d 'Add the secrets of a backup or another program\'s file, all or none'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "show" -d 'Show what is known of a user, without secrets'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "lock" -d 'Refuse logins of users'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "unlock" -d 'Allow logins of locked users again, and forget wrong passwords for them'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "limit" -d 'Limit when, from where and how often a user may log in'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "verify" -d 'Tell whether a secret is right'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "export" -d 'Write a backup'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "rekey" -d 'Seal all secrets by a new key'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "check" -d 'Look for what is wrong with database, key and entries'
complete -c mailauth -n "__fish_mailauth_using_subcommand help; and not __fish_seen_subcommand_from init add passwd remove list import show lock unlock limit verify export rekey check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'

# Names of users, for the verbs that take them.
function __fish_mailauth_users
    sh -c "{ getent passwd | awk -F: '\$3 >= 1000 && \$3 < 65000 { print \$1 }'
        mailauth list --format tsv 2>/dev/null | cut -f 1; } | sort -u"
end
complete -c mailauth -n "__fish_mailauth_using_subcommand add passwd remove show lock unlock limit verify" -f -a "(__fish_mailauth_users)"
