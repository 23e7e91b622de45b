# Jobs: started, listed, waited for, stopped; their lines stay.
sleep 100 &
# err: [1] started: sleep 100
repeat -n 3 echo tick &
# err: [2] started: repeat -n 3 echo tick
# out: [2] tick
# out: [2] tick
# out: [2] tick
wait 2
jobs
# out: [1]   running ... sleep 100
# out: [2]   done (0) ... repeat -n 3 echo tick  | 3 runs, last status 0
logs 2 -n 1
# out: tick
wait 1 --timeout 50ms || echo $?
# err: jobs.nsh:15:1: wait: still running: [1] sleep 100
# out: 124
stop 1
# err: [1] stopped after ...: sleep 100
wait 1 || echo $?
# out: 130
echo a && expect nothing -- echo b &
# err: [3] started: echo a && expect nothing -- echo b
# out: [3] a
# out: [3] b
# err: [3] jobs.nsh:22:11: expect: expected 'nothing' from 'echo b', but the last line was 'b'
wait 3 || echo $! $?
# out: 3 1
