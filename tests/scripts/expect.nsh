# expect: of commands and of jobs.
expect 'a b' c -- echo a b c
# out: a b c
# err: ok: 'a b' from 'echo a b c'
# err: ok: 'c' from 'echo a b c'
expect --not error -- echo fine
# out: fine
# err: ok: no 'error' from 'echo fine'
expect --status 127 -- nosuch
# err: expect.nsh:9:1: unknown command 'nosuch'; 'help' lists them
# err: ok: status 127 of 'nosuch'
upper --server -p 0
# out: [1] listening on 127.0.0.1:... (TCP and UDP), reachable from this machine only
expect listening from upper within 5s
# err: ok: 'listening' from [1] upper --server -p 0 within 5.0 s
expect --not nonsense from 1 within 10ms
# err: ok: no 'nonsense' from [1] upper --server -p 0 within 10.0 ms
stop all
# err: [1] stopped after ...: upper --server -p 0
expect nonsense from 1
# err: expect.nsh:20:1: expect: expected 'nonsense' from [1] upper --server -p 0 within 10.0 s, but the last line was 'listening on...'
# err: expect.nsh:20:1: stopped here with status 1 (--keep-going goes on)
# status: 1
