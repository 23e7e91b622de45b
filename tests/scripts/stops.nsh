# A script stops at the first failure that no operator asked for, and says where.
expect b -- echo a || echo expected
# out: a
# err: stops.nsh:2:1: expect: expected 'b' from 'echo a', but the last line was 'a'
# out: expected
sleep 100 &
# err: [1] started: sleep 100
  timeout 10ms sleep 5
# err: stops.nsh:8:3: timeout: sleep did not end in time
# err: stops.nsh:8:3: stopped here with status 124 (--keep-going goes on)
echo never
# status: 124
