// Random histories: which commands fast-check draws, and how often.
import fc from 'fast-check'
import type { Lanes } from '../../src/contract/engine.ts'
import type {
  Command,
  DraftCommand,
  History,
  LimitsCommand,
  OutcomeCommand,
  WantCommand,
} from './commands.ts'
import { KEYS } from './commands.ts'

const optional = <T>(arbitrary: fc.Arbitrary<T>, freq: number): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq })
const by = fc.constantFrom(0, 0, 1, 2)
const which = fc.nat({ max: 5 })

const onDuplicate = fc.record(
  {
    pending: fc.constantFrom('reject' as const, 'replace' as const, 'supersede' as const),
    running: fc.constantFrom(
      'reject' as const,
      'supersede' as const,
      'rerunAfter' as const,
      'rerunAfter' as const,
    ),
  },
  { requiredKeys: [], noNullPrototype: true },
)

const draft = fc.record(
  {
    key: fc.nat({ max: KEYS - 1 }),
    queue: fc.constantFrom(0, 0, 0, 1),
    priority: fc.constantFrom(0, 0, 0, 3, -4),
    params: fc.constantFrom(0, 0, 1),
    delay: fc.constantFrom(0, 0, 0, 0, 1, 3),
    due: fc.constantFrom(-1, 1, 2),
    maxDelay: fc.constantFrom(0, 1, 2),
    attempts: fc.constantFrom(1, 2, 3),
    fresh: fc.constantFrom(0, 2, 5),
    stale: fc.constantFrom(0, 2),
    failure: fc.constantFrom(0, 2),
    retention: fc.constantFrom(1, 6),
    every: fc.constantFrom(2, 3),
    refresh: fc.constantFrom(false, false, false, true),
    onMismatch: fc.constantFrom('join' as const, 'reject' as const),
    onDuplicate,
    attended: fc.record({ units: fc.constantFrom(1, 3), running: fc.boolean() }),
    group: fc.nat({ max: 1 }),
    follows: fc.oneof(
      { weight: 4, arbitrary: fc.constant<('success' | 'failure' | 'both')[]>([]) },
      {
        weight: 1,
        arbitrary: fc.array(fc.constantFrom('success' as const, 'failure' as const, 'both' as const), {
          minLength: 1,
          maxLength: 2,
        }),
      },
    ),
    watch: fc.boolean(),
  },
  {
    requiredKeys: [
      'key',
      'queue',
      'priority',
      'params',
      'delay',
      'attempts',
      'fresh',
      'stale',
      'failure',
      'retention',
      'refresh',
      'follows',
      'watch',
    ],
  },
)

/** Most drafts have few options: fewer of them meet then, and histories stay readable. */
const plainDraft = draft.map(({ due, maxDelay, every, onMismatch, attended, onDuplicate: _, ...plain }) => ({
  ...plain,
  ...(plain.priority === 3 && due !== undefined ? { due } : {}),
  ...(plain.params === 1 && onMismatch !== undefined ? { onMismatch } : {}),
  ...(plain.delay === 3 && maxDelay !== undefined ? { maxDelay } : {}),
  ...(plain.fresh === 0 && every !== undefined ? { every } : {}),
  ...(plain.stale === 2 && attended !== undefined ? { attended } : {}),
}))

const anyDraft: fc.Arbitrary<DraftCommand> = fc.oneof(
  { weight: 2, arbitrary: plainDraft },
  { weight: 1, arbitrary: draft },
)

const want: fc.Arbitrary<WantCommand> = fc.record(
  {
    limit: fc.constantFrom(1, 1, 2, 5),
    queue: fc.nat({ max: 1 }),
    lease: fc.constantFrom(1, 2, 4),
  },
  { requiredKeys: ['limit', 'lease'], noNullPrototype: true },
)

const outcome: fc.Arbitrary<OutcomeCommand> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      which,
      then: fc.constantFrom(false, false, true),
      kind: fc.constant('completed' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ which, then: fc.constant(false), kind: fc.constant('failed' as const) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ which, then: fc.constant(false), kind: fc.constant('cancelled' as const) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      which,
      then: fc.constant(false),
      kind: fc.constant('retry' as const),
      delay: fc.constantFrom(0, 1, 2),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record(
      {
        which,
        then: fc.constant(false),
        kind: fc.constant('released' as const),
        due: fc.constantFrom(-1, 1),
        params: fc.nat({ max: 1 }),
      },
      { requiredKeys: ['which', 'then', 'kind'] },
    ),
  },
)

const lanes: fc.Arbitrary<Lanes> = fc.constantFrom(
  { queue: 'default' },
  { queue: 'other' },
  { name: 'job' },
  { name: 'mail' },
)

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({
      by,
      do: fc.constant('admit' as const),
      drafts: fc.array(anyDraft, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ by, do: fc.constant('resend' as const), which }) },
  { weight: 18, arbitrary: fc.record({ by, do: fc.constant('claim' as const), want }) },
  {
    weight: 18,
    arbitrary: fc
      .record({
        by,
        do: fc.constant('settle' as const),
        outcomes: fc.array(outcome, { minLength: 1, maxLength: 2 }),
        want: optional(want, 2),
      })
      .map(({ want, ...rest }) => (want === undefined ? rest : { ...rest, want })),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      by,
      do: fc.constant('extend' as const),
      which,
      lease: fc.constantFrom(1, 3),
      progress: fc.boolean(),
    }),
  },
  { weight: 6, arbitrary: fc.record({ by, do: fc.constant('sweep' as const) }) },
  { weight: 6, arbitrary: fc.record({ by, do: fc.constant('read' as const), which, byKey: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({ by, do: fc.constant('cancel' as const), which, reason: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record(
      { by, do: fc.constant('promote' as const), which, priority: fc.constantFrom(-2, 5) },
      { requiredKeys: ['by', 'do', 'which'] },
    ),
  },
  {
    weight: 4,
    arbitrary: fc.record({ by, do: fc.constant('invalidate' as const), key: fc.nat({ max: KEYS - 1 }) }),
  },
  { weight: 1, arbitrary: fc.record({ by, do: fc.constant('invalidate name' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      by,
      do: fc.constant('pause' as const),
      lanes,
      paused: fc.constantFrom(true, false, false),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record(
      {
        by,
        do: fc.constant('list' as const),
        status: fc.constantFrom('pending' as const, 'running' as const, 'completed' as const),
      },
      { requiredKeys: ['by', 'do'] },
    ),
  },
  { weight: 2, arbitrary: fc.record({ by, do: fc.constant('count' as const) }) },
  {
    weight: 14,
    arbitrary: fc.record({ by, do: fc.constant('advance' as const), units: fc.constantFrom(1, 1, 2, 4) }),
  },
)

const limits: fc.Arbitrary<LimitsCommand> = fc.record(
  { running: fc.constantFrom(1, 2), rate: fc.constantFrom(1, 2) },
  { requiredKeys: [], noNullPrototype: true },
)

export const history = (maxLength: number): fc.Arbitrary<History> =>
  fc.record(
    { limits, commands: fc.array(command, { minLength: 1, maxLength, size: 'max' }) },
    { noNullPrototype: true },
  )
