# Words, values and operators, as a script has them.
# args: first second
set X='two words'
echo $X "$X" '$X' \$X
# out: two words two words $X $X
echo $1 $# "$@" ${3:-none}
# out: first 2 first second none
echo a && echo b || echo c; echo d
# out: a
# out: b
# out: d
expect --status 1 -- wait 99 && echo $?
# err: language.nsh:12:1: wait: no job '99': there are no jobs
# err: ok: status 1 of 'wait 99'
# out: 0
echo one \
    two # a comment
# out: one two
