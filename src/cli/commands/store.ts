// The command that looks into a store itself, repairs it and migrates it: deferq store inspect|scan|purge|migrate.
import { DeferqError } from '../../base/errors.ts'
import type { Inspection, Maintenance, Problem } from '../../contract/engine.ts'
import { isInterface, openEngine } from '../../engines/open.ts'
import type { Answer } from '../command.ts'
import { command } from '../command.ts'
import { usage } from '../flags.ts'
import type { Paint } from '../format.ts'
import { block, clean, plain, table } from '../format.ts'
import { nearest } from '../nearest.ts'
import { DEFAULT_URL } from '../url.ts'

/** The flags of each action. Those that take an id are in `WITH_ID`. */
const ACTIONS = {
  inspect: [],
  scan: ['repair'],
  purge: [],
  migrate: ['print', 'prune'],
} as const
type Action = keyof typeof ACTIONS
const WITH_ID: readonly Action[] = ['inspect', 'purge']
const PAGE = 500

const store = command({
  name: 'store',
  takes: '<inspect|scan|purge|migrate> [id]',
  about: 'look into a store itself, repair it, migrate it',
  more:
    'inspect  one run (or the run under a key) by field names, with all that lies beside it; exit code 1 if it\n' +
    '         contradicts itself\n' +
    'scan     go through the whole store for contradictions, beside live workers; exit code 1 if any is left\n' +
    'purge    remove an ended run for good; a live one stays\n' +
    'migrate  bring the store to the layout of this version\n\n' +
    'The url is the store’s: deferq store inspect 78353e… --url=redis://localhost',
  flags: {
    repair: { kind: 'switch', about: 'scan: repair what is found' },
    print: { kind: 'switch', about: 'migrate: only print the statements' },
    prune: { kind: 'switch', about: 'migrate: also drop what no live process uses any more' },
  },
  async run({ positionals, values, paint }): Promise<Answer> {
    const [action, id] = positionals as [Action, string?]
    checkUsage(action, id, values)
    const { url = DEFAULT_URL } = values as { url?: string }
    if (isInterface(url))
      throw usage('store looks into a store itself: give the --url of the store, not of an HTTP interface.')
    const engine = await openEngine(url)()
    try {
      // A migration comes before the engine can open the store.
      if (action !== 'migrate') await engine.open()
      const maintenance = await engine.maintenance?.()
      if (maintenance === undefined) {
        throw new DeferqError(
          'INVALID_OPTION',
          `deferq store: the ${engine.name} engine of this version has no maintenance yet. Use the tools of the store.`,
        )
      }
      switch (action) {
        case 'inspect':
          return await inspect(maintenance, id as string, paint)
        case 'scan':
          return await scan(maintenance, values.repair === true, paint)
        case 'purge':
          return await purge(maintenance, id as string, paint)
        case 'migrate':
          return await migrate(maintenance, values.print === true, values.prune === true)
      }
    } finally {
      await engine.close()
    }
  },
})

export const STORE = [store]

function checkUsage(action: string, id: string | undefined, values: object): void {
  if (!Object.hasOwn(ACTIONS, action)) {
    const meant = nearest(action, Object.keys(ACTIONS))
    throw usage(
      `store has no action '${action}'. ${meant === undefined ? 'There are inspect, scan, purge and migrate.' : `Did you mean ${meant}?`}`,
    )
  }
  const given = values as Record<string, unknown>
  const known: readonly string[] = ACTIONS[action as Action]
  const stray = Object.keys(store.flags).find((flag) => given[flag] !== undefined && !known.includes(flag))
  if (stray !== undefined) throw usage(`store ${action} has no use for --${stray}.`)
  if (given.bootstrap !== undefined)
    throw usage('store looks into the store at a --url: leave out --bootstrap, or DEFERQ_BOOTSTRAP.')
  const takesId = WITH_ID.includes(action as Action)
  if (takesId && id === undefined) throw usage(`store ${action} needs the id of a run.`)
  if (!takesId && id !== undefined) throw usage(`store ${action} does not know what to do with '${id}'.`)
}

async function inspect(maintenance: Maintenance, id: string, paint: Paint): Promise<Answer> {
  const found = await maintenance.inspect(id)
  if (found === undefined) {
    throw new DeferqError('TASK_NOT_FOUND', 'The store holds no run with this id, and none under this key.', {
      details: { taskId: id },
    })
  }
  return {
    document: plain(found),
    text: inspectionText(found, paint),
    code: found.problems.length > 0 ? 1 : 0,
  }
}

function inspectionText({ id, place, fields, beside, raw, problems }: Inspection, paint: Paint): string {
  const head: [string, string][] = [
    ['id', id],
    ['place', place],
  ]
  const rows = Object.entries(fields)
    .filter(([name]) => name !== 'id')
    .map(([name, value]): [string, string] => [name, shown(name, value)])
  const parts = [block([...head, ...rows], paint)]
  if (beside.length > 0)
    parts.push(
      table(
        ['beside it', 'where', 'value'],
        beside.map(({ what, where, value }) => [what, clean(where), clean(JSON.stringify(plain(value)))]),
        paint,
      ),
    )
  if (raw !== undefined) parts.push(`${paint('dim', 'as it lies there')}\n${clean(raw)}`)
  parts.push(
    problems.length === 0 ? paint('green', 'It does not contradict itself.') : problemTable(problems, paint),
  )
  return parts.join('\n\n')
}

/** Moments are shown as dates beside their milliseconds. */
function shown(name: string, value: unknown): string {
  if (typeof value === 'number' && /(At|Until)$/.test(name) && value > 1e12)
    return `${value} (${new Date(value).toISOString()})`
  return clean(typeof value === 'string' ? value : JSON.stringify(plain(value)))
}

async function scan(maintenance: Maintenance, repair: boolean, paint: Paint): Promise<Answer> {
  const problems: Problem[] = []
  let looked = 0
  let cursor: string | undefined
  do {
    const page = await maintenance.scan(PAGE, cursor)
    problems.push(...page.problems)
    looked += page.looked
    cursor = page.cursor
  } while (cursor !== undefined)
  const repaired: boolean[] = []
  for (let from = 0; repair && from < problems.length; from += PAGE)
    repaired.push(...(await maintenance.repair(problems.slice(from, from + PAGE))))
  const left = problems.length - repaired.filter(Boolean).length
  const counts = repair ? `${problems.length - left} repaired, ${left} left` : `${problems.length} found`
  const said = `${looked} records looked at: ${problems.length === 0 ? 'no contradictions' : counts}.`
  const text = problems.length === 0 ? said : `${problemTable(problems, paint, repaired)}\n\n${said}`
  return { document: plain({ looked, problems, repaired }), text, code: left > 0 ? 1 : 0 }
}

function problemTable(problems: readonly Problem[], paint: Paint, repaired: readonly boolean[] = []): string {
  return table(
    ['problem', 'where', 'detail', 'id'],
    problems.map(({ kind, where, detail, id = '' }, index) => [
      repaired[index] ? `${kind} (repaired)` : kind,
      clean(where),
      clean(detail),
      id,
    ]),
    paint,
  )
}

async function purge(maintenance: Maintenance, id: string, paint: Paint): Promise<Answer> {
  const [purged = false] = await maintenance.purge([id])
  if (purged) return { document: { taskId: id, purged }, text: paint('green', 'purged') }
  const there = await maintenance.inspect(id)
  const text =
    there === undefined ? 'There is no such run.' : 'The run lives: cancel it first (deferq cancel).'
  return { document: { taskId: id, purged }, text, code: 1 }
}

async function migrate(maintenance: Maintenance, dryRun: boolean, prune: boolean): Promise<Answer> {
  const steps = await maintenance.migrate({ dryRun, prune })
  if (dryRun) return { document: { steps, done: false }, text: steps.map((step) => `${step};`).join('\n\n') }
  const text =
    steps.length === 0
      ? 'The store has the layout of this version.'
      : `${steps.length} statements were carried out.`
  return { document: { steps, done: true }, text }
}
