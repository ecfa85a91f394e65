// A thousand requests to a receiver that fails, hangs, redirects and dies at random, while workers are killed: each ends as its codes say.
import { expect, test } from 'vitest'
import type { DeferQ, Receipt } from '../../src/index.ts'
import type { Place } from '../facade/places.ts'
import { eventually, SHARED_PLACES } from '../facade/places.ts'
import type { Process } from '../faults/processes.ts'
import { start } from '../faults/processes.ts'
import type { Got } from './receiver.ts'
import { receiver } from './receiver.ts'

const COUNT = 1_000
const SEED = Number(process.env.DEFERQ_TEST_SEED ?? 20_260)
const LEASE_MS = 2_000
const LIMIT = 200

/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const TROUBLES = ['500', '503', '429', 'hang', 'die', 'halfway', 'redirect', 'lost', 'drip'] as const
const ENDS = ['200', '202', '410', '418', 'never', 'expires'] as const

interface Plan {
  /** What the receiver does first, one after another. */
  troubles: (typeof TROUBLES)[number][]
  /** What it does from then on. */
  end: (typeof ENDS)[number]
}

function plans(random: () => number): Plan[] {
  const one = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T
  return Array.from({ length: COUNT }, () => {
    const dice = random()
    const end =
      dice < 0.5
        ? '200'
        : dice < 0.7
          ? '202'
          : dice < 0.8
            ? '410'
            : dice < 0.9
              ? '418'
              : dice < 0.97
                ? 'never'
                : 'expires'
    return { end, troubles: Array.from({ length: Math.floor(random() * 3.5) }, () => one(TROUBLES)) }
  })
}

const serial = { 200: 200, 202: 202, 410: 410, 418: 418, 500: 500, 503: 503, 429: 429 } as const

async function unreliable(all: readonly Plan[]): Promise<{ url: string; got: Got[]; hits: Got[][] }> {
  const hits: Got[][] = all.map(() => [])
  const made = await receiver((got, response) => {
    const [, number, aside] = got.path.split('/') as [string, string, string | undefined]
    if (aside === 'lost') return response.writeHead(302, { location: `${got.path}` }).end()
    const plan = all[Number(number)] as Plan
    if (aside === undefined) hits[Number(number)]?.push(got)
    const seen = (hits[Number(number)] as Got[]).length
    const act = aside === 'moved' ? plan.end : (plan.troubles[seen - 1] ?? plan.end)
    switch (act) {
      case 'hang':
        return
      case 'die':
        return response.destroy()
      case 'halfway':
        return response.writeHead(500, { 'content-length': '99' }).write('half', () => response.destroy())
      case 'drip':
        return response.writeHead(503).write('d')
      case 'redirect':
        return response.writeHead(307, { location: `/${number}/moved` }).end()
      case 'lost':
        return response.writeHead(302, { location: `/${number}/lost` }).end()
      case 'never':
      case 'expires':
        return response.writeHead(500).end()
      default:
        return response.writeHead(serial[act]).end(`n${number}`)
    }
  })
  return { url: made.url, got: made.got, hits }
}

async function run(place: Place): Promise<void> {
  const random = randomOf(SEED)
  const all = plans(random)
  const { url, got, hits } = await unreliable(all)
  const producer = place.deferq() as unknown as DeferQ
  const worker = JSON.stringify({ lease: LEASE_MS, sweep: 200, sleep: 100, concurrency: 25 })
  const workers: Process[] = await Promise.all([1, 2, 3].map(() => sender(place, worker)))

  const dispatched = await Promise.all(
    all.map(({ end }, number) =>
      producer.request({
        url: `${url}/${number}`,
        json: { number },
        successCodes: [200, 202],
        stopCodes: [410],
        attemptInterval: { initial: 20, max: 200 },
        timeout: 250,
        ...(end === 'never' ? { attemptLimit: 6 } : { attemptLimit: LIMIT }),
        ...(end === 'expires' ? { expiresAt: Date.now() + 3_000 } : {}),
      }),
    ),
  )
  expect(new Set(dispatched.map(({ taskId }) => taskId)).size).toBe(COUNT)

  let over = false
  let killed = 0
  const killing = (async () => {
    while (!over) {
      const index = Math.floor(random() * workers.length)
      const victim = workers[index] as Process
      victim.signal('SIGKILL')
      await victim.ended()
      killed++
      workers[index] = await sender(place, worker)
      await new Promise((resolve) => setTimeout(resolve, 200 + random() * 400))
    }
  })()
  const ended = (receipt: Receipt): boolean => receipt.status === 'completed' || receipt.status === 'failed'
  let receipts: Receipt[] = []
  try {
    await eventually(
      'all have ended',
      async () => {
        const { lanes } = await producer.stats()
        return lanes.every(({ pending, running }) => pending + running === 0)
      },
      45_000,
    )
    receipts = await Promise.all(dispatched.map(({ taskId }) => producer.getStatus(taskId)))
  } finally {
    over = true
    await killing
  }
  expect(receipts.every(ended)).toBe(true)
  expect(killed).toBeGreaterThanOrEqual(3)

  // Whoever would send again has had the time.
  const before = got.length
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(got.length).toBe(before)

  for (const [number, receipt] of receipts.entries()) {
    const { end, troubles } = all[number] as Plan
    const mine = hits[number] as Got[]
    const what = `request ${number} (${troubles.join(' ')} → ${end}), seed ${SEED}`
    const cause = receipt.error?.cause as { message: string; details?: { status?: number } } | undefined
    if (end === '200' || end === '202') {
      expect(receipt.status, what).toBe('completed')
      expect(receipt.result, what).toMatchObject({ status: Number(end), body: `n${number}` })
    } else if (end === 'expires') {
      expect(cause?.message, what).toMatch(/expire/)
    } else if (end === 'never') {
      expect(receipt.attempt, what).toBe(6)
      expect(receipt.status, what).toBe('failed')
    } else {
      expect(cause?.details?.status, what).toBe(Number(end))
      expect(receipt.attempt, what).toBeLessThan(LIMIT)
    }
    // Every attempt that reached the receiver was counted, killed ones too.
    expect(mine.length, what).toBeLessThanOrEqual(receipt.attempt)
    const ids = new Set(mine.map(({ headers }) => headers['idempotency-key']))
    expect([...ids], what).toEqual(mine.length === 0 ? [] : [receipt.taskId])
    const numbers = mine.map(({ body }) => JSON.parse(body).__task.attempt.number as number)
    expect(new Set(numbers).size, what).toBe(numbers.length)
    for (const each of mine)
      expect(performance.timeOrigin + each.at, what).toBeLessThan(
        (receipt.finishedAt?.getTime() as number) + 50,
      )
  }
}

const sender = (place: Place, options: string): Promise<Process> =>
  start('../requests/sender', place.url as string, options)

for (const [name, make] of Object.entries(SHARED_PLACES)) {
  if (name === 'postgres') continue
  test(`[${name}]`, { timeout: 90_000 }, async () => run(await make()))
}
