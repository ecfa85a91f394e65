// What must hold when real processes die, freeze or are told to go, on whatever store they share.
import { expect, test } from 'vitest'
import type { DeferQ } from '../../src/index.ts'
import type { Place } from '../facade/places.ts'
import { eventually } from '../facade/places.ts'
import type { Process } from './processes.ts'
import { journal, start } from './processes.ts'

const TIMEOUT_MS = 90_000

interface Scene {
  deferq: DeferQ
  lines(first: string): string[][]
  worker(options?: object): Promise<Process>
  dispatcher(times: number): Promise<Process>
}

async function scene(place: Place): Promise<Scene> {
  const url = place.url as string
  const { file, lines } = await journal()
  return {
    deferq: place.deferq(),
    lines,
    worker: (options = {}) =>
      start('worker', url, file, JSON.stringify({ lease: 1_000, sweep: 150, ...options })),
    dispatcher: (times) => start('dispatcher', url, String(times)),
  }
}

export function faults(make: () => Promise<Place>): void {
  const fault = (title: string, run: (scene: Scene) => Promise<void>): void =>
    test(title, async () => run(await scene(await make())), TIMEOUT_MS)

  fault('a worker killed in mid-task: another runs it within lease and sweep, and once', async (s) => {
    const [first, second] = await Promise.all([s.worker(), s.worker({ names: ['after'] })])
    const { taskId } = await s.deferq.dispatch('slow', { key: 'a', first: 120_000 })
    await eventually('it runs', () => s.lines('start').length === 1)
    first.signal('SIGKILL')
    expect(await first.ended()).toMatchObject({ signal: 'SIGKILL' })
    const from = performance.now()
    const third = await s.worker()
    const result = await s.deferq.result(taskId, { timeout: '30s' })
    expect(result).toEqual({ attempt: 2, pid: third.pid })
    // Both bounds and the start of a process; far below that of a task that would have waited for the first.
    expect(performance.now() - from).toBeLessThan(20_000)
    const { history } = await s.deferq.getStatus(taskId)
    expect(history).toMatchObject([{ attempt: 1, error: { code: 'LEASE_LOST' } }])
    expect(s.lines('start')).toHaveLength(2)
    expect(s.lines('end')).toHaveLength(1)
    expect((await s.deferq.stats()).totals).toMatchObject({ created: 1, completed: 1, leasesLost: 1 })
    second.signal('SIGTERM')
    expect(await second.ended()).toMatchObject({ code: 0 })
  })

  fault('a worker frozen past its lease: it comes back too late, is refused, and counts it', async (s) => {
    const frozen = await s.worker()
    const { taskId } = await s.deferq.dispatch('slow', { key: 'a', first: 400, then: 100 })
    await eventually('it runs', () => s.lines('start').length === 1)
    frozen.signal('SIGSTOP')
    const other = await s.worker()
    // A broker may leave what the frozen one holds with it until it misses its heartbeats.
    const result = await s.deferq.result(taskId, { timeout: '60s' })
    expect(result).toEqual({ attempt: 2, pid: other.pid })
    frozen.signal('SIGCONT')
    await eventually('its handler has ended too', () => s.lines('end').length === 2)
    frozen.signal('SIGTERM')
    const { code, said } = await frozen.ended()
    expect(code).toBe(0)
    expect(JSON.parse(said)).toMatchObject({ claimed: 1, lost: 1, completed: 0 })
    expect(await s.deferq.getStatus(taskId)).toMatchObject({ status: 'completed', attempt: 2, result })
    expect((await s.deferq.stats()).totals.completed).toBe(1)
  })

  fault('four processes dispatch one key 10,000 times at once: one run, one id', async (s) => {
    const started = await Promise.all([
      s.worker({ lease: 30_000 }),
      ...Array.from({ length: 4 }, () => s.dispatcher(2_500)),
    ])
    const dispatchers = started.slice(1)
    for (const each of dispatchers) each.say('go')
    const ends = await Promise.all(dispatchers.map((each) => each.ended()))
    const answers = ends.map(({ said }) => JSON.parse(said))
    expect(new Set(answers.flatMap(({ ids }) => ids)).size).toBe(1)
    const counts = answers.map(({ outcomes: { created = 0, joined = 0, hit = 0 } }) => ({
      created,
      all: created + joined + hit,
    }))
    expect(counts.reduce((sum, { created }) => sum + created, 0)).toBe(1)
    expect(counts.every(({ all }) => all === 2_500)).toBe(true)
    expect(new Set(answers.map(({ result }) => JSON.stringify(result))).size).toBe(1)
    expect(s.lines('start')).toHaveLength(1)
  })

  fault('SIGTERM in full work: what runs ends, the rest waits, nothing is lost or run twice', async (s) => {
    const first = await s.worker({ concurrency: 5, lease: 30_000 })
    const many = Array.from({ length: 60 }, (_, n) => ({ name: 'slow', params: { key: `${n}`, first: 40 } }))
    const receipts = await s.deferq.dispatchMany(many)
    await eventually('it is at work', () => s.lines('end').length >= 5)
    first.signal('SIGTERM')
    const { code, said } = await first.ended()
    const summary = JSON.parse(said)
    expect({ code, reason: summary.reason }).toEqual({ code: 0, reason: 'stopped' })
    expect(summary).toMatchObject({ completed: summary.claimed, released: 0, lost: 0 })
    expect(s.lines('end')).toHaveLength(summary.completed)
    const second = await s.worker({ concurrency: 20, stopWhenEmpty: true })
    const rest = JSON.parse((await second.ended()).said)
    expect(summary.completed + rest.completed).toBe(60)
    const ends = await Promise.all(receipts.map(({ taskId }) => s.deferq.getStatus(taskId)))
    expect(ends.every(({ status, attempt }) => status === 'completed' && attempt === 1)).toBe(true)
    expect(new Set(s.lines('start').map(([, key]) => key)).size).toBe(60)
    expect(s.lines('start')).toHaveLength(60)
  })

  fault('a crash between the result and its callbacks: they are there all the same', async (s) => {
    const dying = await s.worker({ names: ['slow'], dieAfter: 'slow' })
    const { taskId } = await s.deferq.dispatch(
      'slow',
      { key: 'a' },
      { callback: ['after', { name: 'after', on: 'both' }] },
    )
    expect(await dying.ended()).toMatchObject({ signal: 'SIGKILL' })
    expect((await s.deferq.getStatus(taskId)).status).toBe('completed')
    expect(s.lines('after')).toEqual([])
    const second = await s.worker()
    await eventually('both were called', () => s.lines('after').length === 2)
    expect(s.lines('after')).toEqual([
      ['after', 'completed', taskId],
      ['after', 'completed', taskId],
    ])
    second.signal('SIGTERM')
    expect(await second.ended()).toMatchObject({ code: 0 })
  })
}
