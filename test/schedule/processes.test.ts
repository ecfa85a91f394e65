// Schedules across processes that are killed, and whose clocks are off: each occurrence is made once, and run in time.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import type { Entry } from '../../src/contract/engine.ts'
import type { Place } from '../facade/places.ts'
import { eventually, SHARED_PLACES } from '../facade/places.ts'
import { everyRun } from './scene.ts'

const SCRIPT = fileURLToPath(new URL('./scheduler.fixture.ts', import.meta.url))
const HOUR_MS = 3_600_000

interface Ran {
  at: number
  late: number
}

const occurrenceAt = ({ extra }: Entry): number =>
  (JSON.parse(extra as string) as { occurrence: { at: number } }).occurrence.at

function start(place: Place, ran: Ran[], shiftMs: number, count: number) {
  const args = ['--import', 'tsx', SCRIPT, place.url as string, String(shiftMs), String(count)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  createInterface(child.stdout).on('line', (line) => ran.push(JSON.parse(line) as Ran))
  return child
}

/** Redis and PostgreSQL decide by their own clocks; of SQLite the clock is the machine's, which is right in all of them. */
const APART = [HOUR_MS, -HOUR_MS, 0, HOUR_MS]
const SHIFTS = { redis: APART, postgres: APART, sqlite: [0, 0, 0, 0] }

for (const [name, shifts] of Object.entries(SHIFTS)) {
  test(`50 schedulers in four processes, two of which are killed: each occurrence once [${name}]`, async () => {
    const place = await SHARED_PLACES[name as keyof typeof SHIFTS]()
    const ran: Ran[] = []
    const children = shifts.map((shift, index) => start(place, ran, shift, index < 2 ? 13 : 12))
    await eventually('two have run', () => ran.length >= 2, 30_000)
    for (const child of children.slice(0, 2)) {
      child.kill('SIGKILL')
      const so = ran.length
      await eventually('it goes on', () => ran.length >= so + 2, 30_000)
    }
    for (const child of children) child.kill('SIGKILL')
    const deferq = place.deferq()
    const entries = await everyRun(await deferq.open(), 'job')
    const made = new Map(entries.map((run) => [occurrenceAt(run), run]))
    expect(made.size, 'one run an occurrence').toBe(entries.length)
    const times = [...made.keys()].sort((one, other) => one - other)
    const gaps = times.slice(1).map((at, index) => at - Number(times[index]))
    expect(gaps, 'and none left out').toEqual(gaps.map(() => 1_000))
    // Again only where a worker was killed in the middle of it.
    for (const [at, { attempt }] of made)
      expect(ran.filter((each) => each.at === at).length).toBeLessThanOrEqual(attempt)
    expect(ran.filter(({ at }) => !made.has(at))).toEqual([])
    expect(Math.min(...ran.map(({ late }) => late)), 'none early').toBeGreaterThanOrEqual(-20)
    const late = ran.map((each) => each.late).sort((a, b) => a - b)
    // What was claimed by one that was killed waits for the end of its lease; the others are in time.
    expect(Number(late[Math.floor(late.length * 0.6)]), 'most in time').toBeLessThan(1_000)
  }, 90_000)
}
