// The small worlds whose every interleaving is looked at.
import type { Scenario } from './world.ts'

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'two keys, plain',
    drafts: [[{ key: 0, fresh: 2 }, { key: 1 }], [{ key: 0, fresh: 2 }]],
    operator: false,
  },
  {
    name: 'one key: stale results, remembered failures, an operator',
    drafts: [
      [{ key: 0, fresh: 1, stale: 2, failure: 2 }],
      [
        { key: 0, fresh: 1, stale: 2, failure: 2 },
        { key: 0, refresh: true },
      ],
    ],
    operator: true,
  },
  {
    name: 'one key: supersede and run again',
    drafts: [
      [{ key: 0 }, { key: 0, onDuplicate: { pending: 'supersede', running: 'supersede' } }],
      [
        { key: 0, onDuplicate: { running: 'rerunAfter' } },
        { key: 0, onDuplicate: { pending: 'reject', running: 'reject' } },
      ],
    ],
    operator: false,
  },
  {
    name: 'one key with follow-ups, an operator',
    drafts: [
      [{ key: 0, follows: true }],
      [{ key: 0, follows: true, onDuplicate: { running: 'rerunAfter' } }],
    ],
    operator: true,
  },
]
