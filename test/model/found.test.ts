// The faults that the model found, each as the shrunk history that showed it, played on every engine.
import { afterAll, describe, test } from 'vitest'
import { sharedUrl } from '../servers/shared.ts'
import type { Command, DraftCommand, LimitsCommand } from './commands.ts'
import { Player } from './player.ts'
import { composed, memory, postgres, redis, sqlite } from './stores.ts'

const draft = (key: number, more: Partial<DraftCommand> = {}): DraftCommand => ({
  key,
  queue: 0,
  priority: 0,
  params: 0,
  delay: 0,
  attempts: 1,
  fresh: 0,
  stale: 0,
  failure: 0,
  retention: 1,
  refresh: false,
  follows: [],
  watch: false,
  ...more,
})
const admit = (...drafts: DraftCommand[]): Command => ({ by: 0, do: 'admit', drafts })
const claim = (limit = 1): Command => ({ by: 0, do: 'claim', want: { limit, lease: 1 } })
const advance = (units: number): Command => ({ by: 0, do: 'advance', units })
const sweep: Command = { by: 0, do: 'sweep' }

const FOUND: { fault: string; limits?: LimitsCommand; commands: Command[] }[] = [
  {
    fault: 'PostgreSQL and SQLite told the follow-up of a cancelled run no error',
    commands: [
      admit(draft(0, { attempts: 2, follows: ['failure'] })),
      claim(),
      advance(1),
      sweep,
      { by: 0, do: 'cancel', which: 0, reason: false },
    ],
  },
  {
    fault: 'SQLite admitted what a settle asks for before the follow-ups of the run that ended',
    commands: [
      admit(draft(0, { follows: ['success'] }), draft(1)),
      admit(draft(2)),
      claim(5),
      { by: 0, do: 'settle', outcomes: [{ which: 2, then: true, kind: 'completed' }] },
      claim(),
    ],
  },
  {
    fault: 'SQLite admitted the follow-ups of a superseded run after its successor',
    commands: [
      admit(draft(2, { follows: ['failure', 'success'] }), draft(0)),
      admit(draft(2, { onDuplicate: { pending: 'supersede' }, follows: ['success'] })),
      claim(),
      claim(),
    ],
  },
  {
    fault: 'Redis put off the end of a run that nobody asks for after each attempt',
    commands: [
      admit(draft(0, { attempts: 2, attended: { units: 1, running: false } })),
      { by: 0, do: 'claim', want: { limit: 1, lease: 4 } },
      advance(1),
      sweep,
      { by: 0, do: 'settle', outcomes: [{ which: 0, then: false, kind: 'retry', delay: 0 }] },
      sweep,
    ],
  },
  {
    fault: 'a run was released to a moment before its creation',
    commands: [
      admit(draft(0)),
      claim(),
      { by: 0, do: 'settle', outcomes: [{ which: 0, then: false, kind: 'released', due: -1 }] },
      { by: 0, do: 'read', which: 0, byKey: false },
    ],
  },
  {
    fault: 'memory, SQLite and composed did not count the birth of a refresh',
    commands: [
      admit(draft(0, { stale: 2 })),
      claim(),
      { by: 0, do: 'settle', outcomes: [{ which: 0, then: false, kind: 'completed' }] },
      admit(draft(0)),
      { by: 0, do: 'count' },
    ],
  },
  {
    fault: 'on Redis a run that came forward from behind another lay behind runs that were due after it',
    commands: [
      admit(draft(0)),
      claim(),
      admit(draft(0, { onDuplicate: { running: 'rerunAfter' } })),
      admit(draft(1)),
      { by: 0, do: 'invalidate name' },
      claim(),
    ],
  },
  {
    fault: 'PostgreSQL gave out the runs of a group by due time, whatever their priority',
    commands: [
      admit(draft(4, { due: 2, maxDelay: 2, group: 0 }), draft(0)),
      admit(draft(3, { priority: -4, group: 0 })),
      advance(2),
      claim(5),
    ],
  },
  {
    fault: 'PostgreSQL took the drafts of a batch in the order of their keys',
    commands: [
      admit(draft(0)),
      { by: 0, do: 'cancel', which: 0, reason: false },
      admit(draft(2), draft(0), draft(1), draft(0)),
      claim(),
      claim(),
    ],
  },
  {
    fault: 'SQLite took the runs of a group in any order of its queues',
    commands: [admit(draft(4, { queue: 1, group: 1 }), draft(3, { group: 1 })), claim()],
  },
  {
    fault: 'on SQLite a result of no use any more stood alone under its key',
    commands: [
      admit(draft(0, { every: 2 })),
      claim(),
      admit(draft(0, { retention: 6 })),
      { by: 0, do: 'settle', outcomes: [{ which: 0, then: false, kind: 'completed' }] },
      admit(draft(0, { refresh: true })),
      advance(4),
      claim(),
      { by: 0, do: 'invalidate name' },
    ],
  },
  {
    fault: 'on Redis what a cancellation calls for went before what had become due',
    commands: [
      admit(draft(0, { attempts: 2, follows: ['failure'] }), draft(1, { attempts: 2 })),
      claim(5),
      { by: 0, do: 'settle', outcomes: [{ which: 0, then: true, kind: 'completed' }] },
      claim(),
      { by: 0, do: 'settle', outcomes: [{ which: 0, then: false, kind: 'retry', delay: 1 }] },
      advance(1),
      { by: 0, do: 'cancel', which: 1, reason: false },
      claim(),
    ],
  },
  {
    fault:
      'PostgreSQL counted the longest delay of a successor from a later moment than the rest of its batch',
    commands: [
      admit(draft(2)),
      admit(draft(2, { due: 1, maxDelay: 1, onDuplicate: { pending: 'supersede' } }), draft(0, { delay: 1 })),
      advance(1),
      claim(),
    ],
  },
]

const KINDS = [
  memory,
  sqlite,
  composed,
  redis(() => sharedUrl('redis')),
  postgres(() => sharedUrl('postgres')),
]
afterAll(async () => {
  for (const kind of KINDS) await kind.close?.()
})

for (const { fault, limits = {}, commands } of FOUND) {
  describe(`no longer: ${fault}`, () => {
    for (const kind of KINDS) test(kind.name, () => Player.play(kind, { limits, commands }))
  })
}
