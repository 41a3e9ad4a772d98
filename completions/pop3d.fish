complete -c pop3d -s t -l trace -d 'Append all lines of the log to FILE; those of -d go there only (implies -d)' -r -F
complete -c pop3d -s T -l timeout -d 'End a session that waits for a command for SECONDS, 1 to 86400 [default: 600]' -r -f
complete -c pop3d -l listen -d 'Serve clients on ADDRESS, such as 192.0.2.1:110, [::1]:110 or 110; may be repeated' -r -f
complete -c pop3d -l listen-tls -d 'The same over TLS from the first octet, usually on port 995; may be repeated' -r -f
complete -c pop3d -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c pop3d -l demo -d 'Serve a throw-away installation on loopback and say what to type; in DIR it stays afterwards' -r -f -a "(__fish_complete_directories)"
complete -c pop3d -l format -d 'How --sandbox-selftest prints [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c pop3d -s d -l debug -d 'Log what is done for each command; set SO_DEBUG on the client\'s socket'
complete -c pop3d -s s -l statistics -d 'Log a line of statistics at the end of each session'
complete -c pop3d -l tls -d 'The connection from inetd begins with TLS; implied on port 995'
complete -c pop3d -l check -d 'Check configuration, permissions and locks; say how to mend what is wrong'
complete -c pop3d -l sandbox-selftest -d 'Try from inside each role what its sandbox must deny, and print a table'
complete -c pop3d -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pop3d -s V -l version -d 'Print version'
