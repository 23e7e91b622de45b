#!/usr/bin/env nsh
# hello: a first script. It needs no network, and each 'expect' checks what it shows.

# A server becomes a job; the next line runs once it can be used.
upper --server -p 13100
expect 'listening on 127.0.0.1:13100' from upper within 2s

# Ask it over TCP and over UDP. Only a-z change.
expect 'HELLO, WORLD 42' -- upper 127.0.0.1 13100 'hello, world 42'
expect 'HELLO' -- upper 127.0.0.1 13100 --udp hello

# Values, and a command in the background whose output comes with its number.
set TICKS=3
repeat -n $TICKS -d 100ms echo tick &
wait $!
jobs

# A server that is gone is explained.
stop upper
expect --status 69 'nothing is listening there' -- upper 127.0.0.1 13100 anyone?

echo done: everything above was as expected
