// What the composed engine can't promise, of itself and with the parts that it was given.
import type { Parts } from './transactions.ts'

export function caveatsOf({ tasks, lock, queue }: Parts): string[] {
  const caveats = [
    'A Keyv store has no conditional write: what keeps a key to one live run, a run to one result and a group to its limits is the lock. A process that stalls between its last look at the lock and its write can break them.',
    'The clocks of the processes decide what is due, what has expired and when a rate allows more: keep them in step.',
    'Hints of an end or a cancellation stay within a process; others learn of it when they look, after a second or with the next heartbeat.',
    'The order holds within a priority of one queue and name, and within a group; across them within what is claimed at once. Among runs of equal priority and due time, those that were delayed or released come in an order of the broker’s.',
    'Groups take turns per queue, in the order in which those who claim take their messages. One that is closed for a worker with a low limit is closed for one with a higher limit too, for a minute at most.',
  ]
  if (!tasks.atomic)
    caveats.push(
      'The store of tasks takes one document after the other: a crash in between leaves the counters wrong, and a group short of a place for up to a minute, or with one too many until that run ends.',
    )
  if (!tasks.scannable)
    caveats.push('The store of tasks can’t be gone through: no lists, and nothing is forgotten by name.')
  if (!tasks.forgets && !tasks.scannable)
    caveats.push(
      'The store of tasks does not clear away what has expired: it grows until somebody deletes it.',
    )
  return [...caveats, ...lock.caveats, ...queue.caveats]
}
