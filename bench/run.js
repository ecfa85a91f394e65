// The benchmark's command line: deferq and its peers, case by case, as a table and, when asked for, as JSON.
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { DIST } from './contenders.mjs'
import { play } from './play.mjs'
import { circumstances, heading, summarise, table } from './report.mjs'
import { startPostgres, startRabbitmq, startRedis } from './server.mjs'

const KNOWN = readdirSync(new URL('./cases/', import.meta.url)).map((file) => file.replace('.mjs', ''))
const ORDER = [
  'dispatch',
  'dispatch-1',
  'dispatch-1000',
  'dispatch-many',
  'join',
  'process',
  'process-1',
  'latency',
  'latency-busy',
  'hit',
  'hit-near',
  'herd',
  'size-100b',
  'size-10kb',
  'size-1mb',
  'backlog-dispatch',
  'backlog-claim',
  'backlog-later',
  'backlog-status',
  'shards',
  'cluster',
  'memory',
  'memory-cached',
  'fingerprint-3',
  'fingerprint-30',
  'fingerprint-300',
  'http-new',
  'http-hit',
  'import',
  'sqlite-dispatch',
  'sqlite-process',
  'postgres-dispatch',
  'postgres-process',
  'rabbitmq-publish',
  'rabbitmq-consume',
  'rabbitmq-composed',
]
const ENGINES = ['redis', 'memory', 'sqlite', 'postgres', 'rabbitmq']

const USAGE = `npm run bench -- [options]
  --case=NAME,…      of ${ORDER.join(', ')}; all unless given
  --engine=NAME      deferq on ${ENGINES.join(', ')}; peers are compared on redis and postgres,
                     and rabbitmq has cases of its own
  --quick            fewer, shorter rounds of the cases that take no minutes
  --rounds=N         measured rounds of each case
  --calm             waits until the machine is idle, and repeats rounds that others have disturbed
  --only=WORD,…      contenders whose name holds one of the words
  --json=FILE        all figures, also those of each round
  --profile=FOLDER   a CPU profile of each contender's process`

const { values: options } = parseArgs({
  options: {
    case: { type: 'string' },
    engine: { type: 'string', default: 'redis' },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    calm: { type: 'boolean', default: false },
    only: { type: 'string' },
    json: { type: 'string' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (options.help) {
  console.log(USAGE)
  process.exit()
}
const names = options.case?.split(',') ?? [...ORDER, ...KNOWN.filter((name) => !ORDER.includes(name))]
refuse(
  names.filter((name) => !KNOWN.includes(name)),
  'case',
)
refuse(ENGINES.includes(options.engine) ? [] : [options.engine], 'engine')
if (options.rounds !== undefined && !(Number(options.rounds) >= 1))
  refuse([options.rounds], 'number of rounds')
if (!existsSync(new URL('src/index.js', DIST)))
  throw new Error(`There is no build of deferq in ${DIST}: npm run build`)

const { engine } = options
const STARTS = { redis: startRedis, postgres: startPostgres, rabbitmq: startRabbitmq }
const server = await STARTS[engine]?.()
const results = []
try {
  const on = await circumstances({ engine, url: server?.url })
  console.log(heading(on))
  for (const name of names) {
    const played = await import(`./cases/${name}.mjs`)
    if (!played.engines.includes(engine)) {
      if (options.case !== undefined) console.log(`\n${name}: not on ${engine}`)
      continue
    }
    // Those without a quick size are played only when they are asked for.
    if (options.quick && options.case === undefined && played.size.quick === undefined) continue
    const found = await play(played, {
      name,
      engine,
      url: server?.url,
      pace: options.quick ? 'quick' : 'full',
      rounds: options.rounds === undefined ? undefined : Number(options.rounds),
      only: options.only?.split(','),
      calm: options.calm,
      profile: options.profile,
    })
    const summary = summarise({ name, title: played.title, unit: played.unit, ...found })
    console.log(`\n${table(summary)}`)
    results.push(summary)
    // After each case, so that a run that is broken off has not been for nothing.
    if (options.json !== undefined)
      writeFileSync(options.json, `${JSON.stringify({ ...on, results }, null, 2)}\n`)
  }
} finally {
  await server?.stop()
}

function refuse(wrong, what) {
  if (wrong.length === 0) return
  console.error(`There is no ${what} ${wrong.join(', ')}.\n\n${USAGE}`)
  process.exit(2)
}
