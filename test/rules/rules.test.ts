// Rules: what holds and what does not, what they can't reach, what is refused, and how a run ends whose rules no longer hold.
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { Context, Rules } from '../../src/index.ts'
import { task } from '../../src/index.ts'
import { rulesOf, rulesText } from '../../src/rules/index.ts'
import { eventually, failing, memory, working, workOff } from '../facade/places.ts'
import { everyPlace } from '../schedule/scene.ts'

const params = {
  status: 'active',
  total: 100,
  big: 10n,
  at: new Date('2026-01-01T00:00:00Z'),
  tags: ['new', 'vip'],
  owner: { name: 'Ann', roles: new Set(['admin']), limits: new Map([['day', 5]]) },
  lines: [{ sku: 'a-1' }, { sku: 'b-22' }],
  none: null,
}
const scope = { params, facts: { balance: 50, blocked: false }, meta: { by: 'web' } }
/** By way of the text in which they travel. */
const failed = (rules: Rules): string | undefined => rulesOf(rulesText(rules, 'rules'))(scope)

const titled = <Row extends unknown[]>(rows: Row[]): [string, ...Row][] =>
  rows.map((row) => [
    inspect(row[0], { depth: 9, compact: true, breakLength: Infinity }).slice(0, 100),
    ...row,
  ])

const HOLD: Rules[] = [
  { status: 'active' },
  { 'params.status': 'active', total: 100 },
  { total: { gt: 99, gte: 100, lt: 101, lte: 100, eq: 100, ne: 99 } },
  { total: { gt: 99n } },
  { big: { gt: 9, lte: 10n } },
  {
    at: {
      eq: new Date('2026-01-01T00:00:00Z'),
      gte: new Date('2026-01-01T00:00:00Z'),
      lt: new Date('2027-01-01T00:00:00Z'),
    },
  },
  { status: { in: ['active', 'new'], nin: ['closed'] } },
  { status: { gt: 'aaa', lte: 'active' } },
  { missing: { exists: false, ne: 1, nin: [1] }, none: { exists: true, eq: null } },
  { tags: { contains: 'vip' }, 'owner.roles': { contains: 'admin' }, status: { contains: 'act' } },
  { lines: { contains: { sku: 'a-1' } }, 'lines.1.sku': 'b-22', 'tags.length': 2 },
  { 'owner.limits.day': { lte: 5 } },
  { owner: { exists: true }, tags: { eq: ['new', 'vip'] } },
  { 'lines.1.sku': { matches: '^[a-z]-\\d+$' } },
  { 'facts.balance': { gte: 50 }, 'facts.blocked': false, 'meta.by': 'web' },
  { eq: [{ path: 'status', value: 'active' }], gte: [{ path: 'facts.balance', value: 10 }] },
  { eq: { path: 'status', value: 'active' }, exists: [{ path: 'total' }] },
  { or: [{ status: 'closed' }, { eq: [{ path: 'total', value: 100 }] }] },
  { and: [{ status: 'active' }, { not: { total: 5 } }] },
  { not: [{ status: 'active' }, { total: 5 }] },
  [{ status: 'active' }, { total: 100 }],
]
test.each(titled(HOLD.map((rules): [Rules] => [rules])))('holds: %s', (_, rules) =>
  expect(failed(rules)).toBeUndefined(),
)

test.each(
  titled<[Rules, RegExp]>([
    [{ status: 'closed' }, /^status eq "closed" does not hold \(it is "active"\)$/],
    [{ total: { gt: 100 } }, /total gt 100/],
    [{ total: { gt: '99' } }, /total gt "99"/],
    [{ status: { lt: 5 } }, /status lt 5/],
    [{ missing: { gt: 1 } }, /it is undefined/],
    [{ missing: { lte: 1 } }, /missing lte/],
    [{ none: { gte: 0 } }, /none gte/],
    [{ missing: { in: [1] } }, /missing in/],
    [{ missing: { exists: true } }, /missing exists true/],
    [{ total: { matches: '100' } }, /total matches "100"/],
    [{ status: { contains: 5 } }, /contains/],
    [{ owner: { contains: 'name' } }, /contains/],
    [{ at: '2026-01-01T00:00:00Z' }, /at eq/],
    [{ 'facts.balance': { gte: 51 } }, /facts.balance gte 51 does not hold \(it is 50\)/],
    [{ or: [{ status: 'closed' }, { total: 1 }] }, /status eq "closed" .*, and total eq 1/],
    [{ not: { status: 'active' } }, /not \{"status":"active"\} does not hold/],
    [{ nin: [{ path: 'status', value: ['active'] }] }, /status nin/],
    [[{ status: 'active' }, { total: 1 }], /total eq 1/],
    [{ 'facts.toString': { exists: true } }, /facts.toString exists/],
    [{ 'status.length': { exists: true } }, /status.length/],
    [{ hasOwnProperty: { exists: true } }, /hasOwnProperty/],
  ]),
)('does not hold: %s', (_, rules, said) => expect(failed(rules)).toMatch(said))

test('a path reaches own properties alone, also of what was made to look otherwise', () => {
  const check = rulesOf(rulesText({ 'params.secret': { exists: true } }, 'rules'))
  const inherited = Object.create({ secret: 1 }) as object
  expect(check({ params: inherited, facts: undefined, meta: undefined })).toBeDefined()
  const facts = rulesOf(rulesText({ 'facts.x': { exists: false } }, 'rules'))
  expect(facts({ params: {}, facts: undefined, meta: undefined })).toBeUndefined()
})

test('a text longer than a pattern looks at is no match, and the reason says so', () => {
  const check = rulesOf(rulesText({ text: { matches: 'a' } }, 'rules'))
  expect(check({ params: { text: 'a'.repeat(10_001) }, facts: undefined, meta: undefined })).toMatch(
    /text is longer than the 10000 characters/,
  )
})

const nested = (depth: number): Rules => (depth === 0 ? { a: 1 } : { not: nested(depth - 1) })

describe('refused, with the place', () => {
  test.each(
    titled<[unknown, RegExp]>([
      [{}, /rules must be like/],
      [[], /rules are empty/],
      ['status = 1', /rules must be like/],
      [null, /rules must be like/],
      [new Map(), /must be like/],
      [{ status: { equals: 1 } }, /rules.status has no operator 'equals'. Known: eq, ne/],
      [{ status: {} }, /rules.status is empty/],
      [{ eq: [{ value: 1 }] }, /rules.eq\[0\] must be { path, value }/],
      [{ eq: [{ path: 'a', value: 1, or: 2 }] }, /rules.eq\[0\] has 'or'/],
      [{ eq: [] }, /rules.eq must be a list of/],
      [{ or: { a: 1 } }, /rules.or must be a list/],
      [{ or: [] }, /rules.or must be a list/],
      [{ and: [{ or: [{ a: { gt: null } }] }] }, /rules.and\[0\].or\[0\].a.gt must be a number/],
      [{ a: { gt: Number.NaN } }, /can't be sent/],
      [{ a: { in: 'abc' } }, /rules.a.in must be a list/],
      [{ a: { exists: 'yes' } }, /rules.a.exists must be true or false/],
      [
        { a: { matches: '(a+' } },
        /rules.a.matches is no pattern that it can match: "\(a\+", a '\(' is not closed/,
      ],
      [{ a: { matches: '(a)\\1' } }, /\\1 is not part of it/],
      [
        { and: [{ b: 1 }, { a: { matches: '(a+)+$' } }] },
        /rules.and\[1\].a.matches is no pattern that it can match: "\(a\+\)\+\$", it could run away: what is repeated at 1 /,
      ],
      [{ a: { matches: /a/ } }, /can't be sent/],
      [{ 'a..b': 1 }, /has the path 'a..b'/],
      [{ '': 1 }, /has the path ''/],
      [{ [`a${'.a'.repeat(150)}`]: 1 }, /has the path/],
      [{ 'a.__proto__.b': 1 }, /'__proto__', which no rule may look at/],
      [{ 'constructor.name': 1 }, /'constructor'/],
      [nested(8), /nest deeper than 8/],
      [nested(60), /can't be sent/],
      [{ or: Array.from({ length: 101 }, () => ({ a: 1 })) }, /more than 100 conditions/],
      [{ a: 'x'.repeat(20_000) }, /can't be sent/],
      [{ a: () => true }, /can't be sent/],
    ]),
  )('%s', async (_, rules, said) => {
    const deferq = memory().deferq()
    const error = await failing('INVALID_OPTION', deferq.dispatch('x', null, { rules: rules as Rules }))
    expect(error.message).toMatch(said)
    expect(error.message).toMatch(/^dispatch\('x'\): rules/)
  })

  test('seven deep is fine', () => expect(rulesText(nested(7), 'rules')).toBeTypeOf('string'))
})

everyPlace('a rule that no longer holds cancels the run, with the rule as its reason', async (place) => {
  const ran: string[] = []
  const balances: Record<string, number> = { ann: 50, bob: 500 }
  const pay = task('pay', {
    facts: async ({ who }) => ({ balance: balances[who] }),
    run: ({ who }: { who: string }, { meta }: Context) => void ran.push(`${who} for ${String(meta?.by)}`),
  })
  const deferq = place.deferq({ tasks: [pay] })
  const rules = { 'facts.balance': { gte: 100 } }
  const ann = await deferq.dispatch(
    'pay',
    { who: 'ann' },
    { rules, meta: { by: 'web' }, callback: { name: 'pay', on: 'failure', params: { who: 'told' } } },
  )
  const bob = await deferq.dispatch('pay', { who: 'bob' }, { rules, meta: { by: 'web' } })
  const summary = await workOff(deferq)
  expect(summary).toMatchObject({ completed: 2, cancelled: 1, failed: 0, retried: 0 })
  expect(ran.sort()).toEqual(['bob for web', 'told for undefined'])
  const receipt = await deferq.getStatus(ann.taskId)
  expect(receipt).toMatchObject({ status: 'cancelled', attempt: 1, meta: { by: 'web' } })
  expect(receipt.error).toMatchObject({ code: 'TASK_CANCELLED' })
  expect(receipt.error?.cause).toMatchObject({
    code: 'RULE_FAILED',
    message: expect.stringMatching(/'pay' no longer holds: facts.balance gte 100 does not hold \(it is 50\)/),
  })
  await failing('TASK_CANCELLED', deferq.result(ann.taskId))
  expect((await deferq.getStatus(bob.taskId)).status).toBe('completed')
  // Dispatched anew it is asked anew.
  balances.ann = 100
  await deferq.dispatch('pay', { who: 'ann' }, { rules })
  await workOff(deferq)
  expect(ran).toHaveLength(3)
})

everyPlace('facts that can’t be had are a failure like any other, and are tried again', async (place) => {
  let asked = 0
  const job = task('job', {
    backoff: 10,
    facts: async () => {
      if (++asked === 1) throw new Error('the database is away')
      return { ok: true }
    },
    run: (_: string) => 'done',
  })
  const deferq = place.deferq({ tasks: [job] })
  working(deferq)
  expect(await deferq.run('job', 'x', { rules: { 'facts.ok': true } })).toBe('done')
  expect(asked).toBe(2)
  expect(await deferq.run('job', 'y')).toBe('done')
  expect(asked, 'without rules nobody asks').toBe(2)
})

test('rules that somebody has planted in the store fail the run for good, and nothing is run', async () => {
  const place = memory()
  const job = task('job', { run: () => 'done' })
  const deferq = place.deferq({ tasks: [job] })
  const engine = await deferq.open()
  const draft = await deferq.draft('job', null)
  await engine.admit([{ ...draft, extra: JSON.stringify({ rules: '{"a":{"matches":"(("}}' }) }])
  expect(await workOff(deferq)).toMatchObject({ failed: 1, completed: 0 })
  await eventually('it says why', async () =>
    /rules of this run can't be read/.test(String((await deferq.getStatus(draft.id)).error?.message)),
  )
})

test('meta must be an object, and bounded', async () => {
  const deferq = memory().deferq()
  await failing('INVALID_OPTION', deferq.dispatch('x', null, { meta: 'web' as never }))
  await failing('PARAMS_TOO_LARGE', deferq.dispatch('x', null, { meta: { text: 'x'.repeat(20_000) } }))
})
