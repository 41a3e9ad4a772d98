# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mailusradm_global_optspecs
    string join \n config= h/help V/version
end

function __fish_mailusradm_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mailusradm_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mailusradm_using_subcommand
    set -l cmd (__fish_mailusradm_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mailusradm -n "__fish_mailusradm_needs_command" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_needs_command" -s h -l help -d 'Print help'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -s V -l version -d 'Print version'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "list" -d 'List maildrops: what is in them, who uses them, what is wrong'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "show" -d 'Show the messages of a maildrop, or one of them'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "check" -d 'Look for damage of maildrops, and repair it when asked'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "stats" -d 'Count sessions: when they were, whose, how much was done, how they ended'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "history" -d 'List a user\'s sessions that have ended, and refused logins'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "convert" -d 'Make a Maildir of an mbox, or an mbox of a Maildir; unique ids stay'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "export" -d 'Write a maildrop into a file'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "import" -d 'Add messages of a file to a maildrop, or unique ids of another server'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "sessions" -d 'List who is logged in now, since when, from where'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "kick" -d 'End a session; it deletes nothing'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "why" -d 'Say what stops a user from logging in, and what to type'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "unlock" -d 'Lift locks of users, by wrong passwords or by mailauth lock'
complete -c mailusradm -n "__fish_mailusradm_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list" -l over -d 'Maildrops of more octets than SIZE alone, such as 100M' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list" -l idle -d 'Maildrops that nobody logged in to for TIME alone, such as 6mo' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list" -l sort -d 'The order: large, old and long unused ones first' -r -f -a "user\t'By name'
messages\t'Most messages first'
octets\t'Most octets first'
oldest\t'Oldest message first'
newest\t'Newest message first'
disk\t'Largest on disk first'
last_login\t'Never, and longest ago, first'
problems\t'Those with problems first'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list" -l format -d 'How to write it [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list" -l columns -d 'The columns, in this order, separated by commas [default: all that fit]' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list" -l orphaned -d 'Maildrops without a user alone'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list" -l reverse -d 'The other way round'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand show" -l format -d 'How to write it [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand show" -l columns -d 'The columns, in this order, separated by commas [default: all that fit]' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand show" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand show" -l text -d 'Show its text too'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand check" -l format -d 'How to write it [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand check" -l columns -d 'The columns, in this order, separated by commas [default: all that fit]' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand check" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand check" -l all -d 'Check the maildrops of all users'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand check" -l repair -d 'Repair what can be repaired without losing a message'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand stats" -l since -d 'Count what began within TIME, such as 24h or 6mo' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand stats" -l by -d 'What to count together' -r -f -a "day\t'The day'
hour\t'The hour of the day'
user\t'The user\'s name'
client\t'The client\'s address'
mechanism\t'The mechanism of the login'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand stats" -l top -d 'How many users each list of users has at most' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand stats" -l format -d 'How to write it [default: tables on a terminal, else tsv]' -r -f -a "table\t'With charts, for people'
json\t'One JSON object'
tsv\t'A line for each row, fields separated by tabs, no header'
prometheus\t'Totals since the history began, for node_exporter\'s textfile collector'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand stats" -l columns -d 'The rows alone with these columns, in this order, separated by commas' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand stats" -l html -d 'Write a page with charts to FILE' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand stats" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand history" -l since -d 'List what began within TIME, such as 24h or 6mo' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand history" -l format -d 'How to write it [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand history" -l columns -d 'The columns, in this order, separated by commas [default: all that fit]' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand history" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand convert" -l to -d 'The new format' -r -f -a "mbox\t'One file with all messages'
maildir\t'A directory with a file for each message'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand convert" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand convert" -l remove-old -d 'Remove the old maildrop, and one that an earlier conversion has kept'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand convert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand export" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand export" -s h -l help -d 'Print help'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand import" -l uidl-from -d 'Take unique ids from a list, from X-UIDL (headers), or compute them (computed)' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand import" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand import" -l as-is -d 'Leave lines that begin with >From as they are'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand import" -s h -l help -d 'Print help'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand sessions" -l watch -d 'Show the list again every SECONDS, 1 to 3600, until Ctrl-C [default: 2]' -r -f
complete -c mailusradm -n "__fish_mailusradm_using_subcommand sessions" -l format -d 'How to write it [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand sessions" -l columns -d 'The columns, in this order, separated by commas [default: all that fit]' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand sessions" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand sessions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand kick" -l wait -d 'How long to wait for its end, 1 to 3600' -r -f
complete -c mailusradm -n "__fish_mailusradm_using_subcommand kick" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand kick" -l force -d 'End it by SIGKILL when it has not ended by then'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand kick" -s h -l help -d 'Print help'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand why" -l from -d 'Where the client is, such as 192.0.2.1 or ::1 [default: not on this machine]' -r -f -a "(__fish_print_hostnames)"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand why" -l mechanism -d 'How it logs in [default: as the user\'s entries say]' -r -f -a "pass\t'USER and PASS'
plain\t'AUTH PLAIN'
apop\t'APOP'
cram-md5\t'AUTH CRAM-MD5'
scram-sha256\t'AUTH SCRAM-SHA-256, with -PLUS or without'
external\t'AUTH EXTERNAL'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand why" -l format -d 'Write the steps as a list in this format' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand why" -l columns -d 'Write that list with these columns, in this order, separated by commas' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand why" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand why" -l all -d 'Show each step of the way, not only what stops the login'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand unlock" -l format -d 'How to write it [default: a table on a terminal, else tsv]' -r -f -a "table\t'With a header and lines, for people'
json\t'A JSON array with an object for each row'
tsv\t'A line for each row, fields separated by tabs, no header'"
complete -c mailusradm -n "__fish_mailusradm_using_subcommand unlock" -l columns -d 'The columns, in this order, separated by commas [default: all that fit]' -r
complete -c mailusradm -n "__fish_mailusradm_using_subcommand unlock" -l config -d 'Read FILE and not /etc/poptools/pop3d.toml' -r -F
complete -c mailusradm -n "__fish_mailusradm_using_subcommand unlock" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "list" -d 'List maildrops: what is in them, who uses them, what is wrong'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "show" -d 'Show the messages of a maildrop, or one of them'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "check" -d 'Look for damage of maildrops, and repair it when asked'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "stats" -d 'Count sessions: when they were, whose, how much was done, how they ended'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "history" -d 'List a user\'s sessions that have ended, and refused logins'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "convert" -d 'Make a Maildir of an mbox, or an mbox of a Maildir; unique ids stay'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "export" -d 'Write a maildrop into a file'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "import" -d 'Add messages of a file to a maildrop, or unique ids of another server'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "sessions" -d 'List who is logged in now, since when, from where'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "kick" -d 'End a session; it deletes nothing'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "why" -d 'Say what stops a user from logging in, and what to type'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "unlock" -d 'Lift locks of users, by wrong passwords or by mailauth lock'
complete -c mailusradm -n "__fish_mailusradm_using_subcommand help; and not __fish_seen_subcommand_from list show check stats history convert export import sessions kick why unlock help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'

# Names of users, for the verbs that take them.
function __fish_mailusradm_users
    sh -c "{ getent passwd | awk -F: '\$3 >= 1000 && \$3 < 65000 { print \$1 }'
        mailauth list --format tsv 2>/dev/null | cut -f 1; } | sort -u"
end
complete -c mailusradm -n "__fish_mailusradm_using_subcommand list show check history convert export import sessions kick why unlock" -f -a "(__fish_mailusradm_users)"
