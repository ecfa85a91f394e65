// The demo: a web app, a worker in another process, and a crowd of requests that one run answers.

import { mkdtemp, rm } from 'node:fs/promises'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { environment } from '../base/environment.ts'
import { Crew } from './crew.ts'
import type { Answer, Standing } from './crowd.ts'
import { askAtOnce, askInTurn, connect } from './crowd.ts'
import type { Demo, Wanted } from './report.ts'
import { openDemo } from './report.ts'
import { durationText, Screen } from './screen.ts'
import { serve } from './web.ts'

export interface DemoOptions {
  /** Ends after the table instead of serving the page. */
  once: boolean
  /** Of the web app (a free one). */
  port?: number
  /** Ends it. */
  signal: AbortSignal
  /** (standard output) */
  out?: NodeJS.WriteStream
}

const CROWD = 100
const WANTED: Wanted = { year: 2024, format: 'xlsx' }
const INTERRUPTED = 130

/** Answers the exit code: 0, 1 when something is wrong, 130 when interrupted before it has shown its table. */
export async function demo({ once, port, signal, out = process.stdout }: DemoOptions): Promise<number> {
  const screen = new Screen(out)
  const endings: (() => Promise<unknown>)[] = []
  let code = 1
  try {
    code = await show(screen, { once, port, signal }, endings)
  } catch (error) {
    screen.clear()
    if (signal.aborted) code = INTERRUPTED
    else process.stderr.write(`${screen.style('red', 'deferq demo:')} ${wordsOf(error)}\n`)
  }
  // What began last ends first: nothing may still use the store, or the folder, when it goes.
  for (const end of endings.reverse()) {
    await end().catch((error: unknown) => {
      code ||= 1
      process.stderr.write(`deferq demo: cleaning up failed: ${wordsOf(error)}\n`)
    })
  }
  return code
}

async function show(
  screen: Screen,
  { once, port, signal }: Pick<DemoOptions, 'once' | 'signal'> & { port: number | undefined },
  endings: (() => Promise<unknown>)[],
): Promise<number> {
  signal.throwIfAborted()
  const folder = await mkdtemp(join(tmpdir(), 'deferq-demo-'))
  endings.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  const deferq = openDemo(folder)
  endings.push(() => deferq.close())
  // Now, so that a missing SQLite is told before anything else is begun.
  await deferq.open()
  const crew = new Crew(folder, (text) => screen.say(text))
  const web = await serve({ deferq, folder, port, workerPid: () => crew.pid })
  endings.push(() => web.close())
  endings.push(() => crew.stop())
  await unlessAborted(crew.start(), signal)

  screen.say(screen.style('bold', 'deferq demo: many ask, one run answers'))
  screen.say()
  screen.say(`  web app   process ${process.pid}, ${web.url}`)
  screen.say(`  worker    process ${crew.pid}`)
  screen.say(`  store     SQLite, ${folder}`)
  screen.say()

  const agent = new Agent({ keepAlive: true, maxSockets: CROWD })
  endings.push(async () => agent.destroy())
  await connect({ base: web.url, size: CROWD, agent })
  const round = async (title: string, ask: typeof askAtOnce): Promise<Round> => {
    screen.say(screen.style('cyan', title))
    const before = await countsOf(deferq)
    const watch = watcher(screen)
    const startedAt = environment.monotonic()
    const answers = await ask({ base: web.url, wanted: WANTED, size: CROWD, agent, signal, watch })
    const totalMs = environment.monotonic() - startedAt
    const done = { answers, totalMs, counts: difference(await countsOf(deferq), before) }
    tell(screen, done)
    screen.say()
    return done
  }
  const report = `the report of ${WANTED.year} as ${WANTED.format}`
  const first = await round(
    `${CROWD} requests at once for ${report}, which takes two seconds to make`,
    askAtOnce,
  )
  const again = await round(`${CROWD} requests for it again, one after another`, askInTurn)
  tabulate(screen, first, again)
  screen.say()

  const broken = brokenPromises(first, again)
  for (const each of broken) screen.say(screen.style('red', `  ✗ ${each}`))
  if (broken.length === 0)
    screen.say(
      screen.style(
        'green',
        `  ✓ one run answered all ${first.answers.length + again.answers.length} requests`,
      ),
    )
  if (once) return broken.length === 0 ? 0 : 1

  screen.say()
  screen.say(`  Go on in the browser: ${screen.style('bold', `${web.url}/`)}`)
  screen.say(`  ${screen.style('dim', 'Ctrl-C ends it and removes what it has stored.')}`)
  await aborted(signal)
  return broken.length === 0 ? 0 : 1
}

/** What a crowd was told, and what the store counted meanwhile. */
interface Round {
  answers: Answer[]
  totalMs: number
  counts: Record<string, number>
}

const countsOf = async (deferq: Demo): Promise<Record<string, number>> => ({
  ...(await deferq.stats()).totals,
})

const difference = (after: Record<string, number>, before: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)]))

const told = ({ answers }: Round, outcome: string): number =>
  answers.filter((answer) => answer.outcome === outcome).length

/** Runs that the store has seen begin. */
const runsOf = ({ counts }: Round): number => counts.created ?? 0

const sorted = ({ answers }: Round, what: 'firstMs' | 'doneMs'): number[] =>
  answers.map((answer) => answer[what]).sort((one, other) => one - other)

/** Draws each change on a terminal; elsewhere says every quarter of the way once. */
function watcher(screen: Screen): (standing: Standing) => void {
  const startedAt = environment.monotonic()
  let heard = false
  let quarter = 0
  return ({ size, heard: count, done, status, progress }) => {
    const percent = `${Math.floor(progress * 100)} %`
    if (screen.live) {
      const text = done === 0 ? `${status}, ${count} of ${size} told to wait` : `${done} of ${size} have it`
      screen.draw(`  ${screen.bar(progress)} ${percent.padStart(5)}  ${text}`)
      return
    }
    const at = durationText(environment.monotonic() - startedAt)
    if (!heard && count === size && done === 0) {
      heard = true
      screen.say(`  ${at}: ${count} of ${size} were told 202, ${status}`)
    }
    if (Math.floor(progress * 4) > quarter && progress < 1) {
      quarter = Math.floor(progress * 4)
      screen.say(`  ${at}: ${status}, ${percent}`)
    }
  }
}

function tell(screen: Screen, round: Round): void {
  const { answers, totalMs, counts } = round
  const outcomes = [...new Set(answers.map(({ outcome }) => outcome))].sort()
  const counted = Object.entries(counts).filter(([, count]) => count > 0)
  const inWords = (pairs: (readonly [string, number])[]): string =>
    pairs.map(([name, count]) => `${count} ${name}`).join(', ')
  screen.say(`  ${durationText(totalMs)}: all ${answers.length} have the report`)
  screen.say(`  receipts        ${inWords(outcomes.map((outcome) => [outcome, told(round, outcome)]))}`)
  screen.say(`  deferq.stats()  ${inWords(counted)}`)
  const merged = answers.length - outcomes.reduce((sum, outcome) => sum + (counts[outcome] ?? 0), 0)
  if (merged > 0)
    screen.say(
      `                  (${merged} came in the same tick as another, and reached the store with it)`,
    )
}

function tabulate(screen: Screen, first: Round, again: Round): void {
  const row = (title: string, of: (round: Round) => string | number): string[] => [
    title,
    String(of(first)),
    String(of(again)),
  ]
  const middle = (times: number[]): number => times[Math.floor((times.length - 1) / 2)] ?? 0
  screen.table([
    ['', 'at once', 'in turn'],
    row('requests', ({ answers }) => answers.length),
    row('runs', runsOf),
    row('joined', (round) => told(round, 'joined')),
    row('hits', (round) => told(round, 'hit')),
    row('first answer', (round) => durationText(sorted(round, 'firstMs')[0] ?? 0)),
    row('answered, p50', (round) => durationText(middle(sorted(round, 'doneMs')))),
    row('all answered', ({ totalMs }) => durationText(totalMs)),
  ])
}

function brokenPromises(first: Round, again: Round): string[] {
  const broken: string[] = []
  const expect = (what: string, count: number, promised: number): void => {
    if (count !== promised) broken.push(`${what}: ${count} instead of ${promised}`)
  }
  expect('runs that were created', runsOf(first) + runsOf(again), 1)
  expect('runs that were completed', (first.counts.completed ?? 0) + (again.counts.completed ?? 0), 1)
  expect('receipts that say created', told(first, 'created'), 1)
  expect('receipts that say joined', told(first, 'joined'), CROWD - 1)
  expect('receipts that say hit', told(again, 'hit'), CROWD)
  const [one, ...others] = [...first.answers, ...again.answers]
  const same = others.filter(
    ({ result, taskId }) => taskId === one?.taskId && isDeepStrictEqual(result, one?.result),
  )
  expect('requests that got the very same report', same.length + 1, 2 * CROWD)
  return broken
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return Promise.race([work, aborted(signal).then(() => Promise.reject(signal.reason))])
}

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
