// The memory engine's time is monotonic: a jump of the wall clock moves no lease, delay, retry or expiry; runAt follows it.
import { afterEach, expect, test } from 'vitest'
import { environment } from '../../src/base/environment.ts'
import { TestEnvironment } from '../../src/conformance/index.ts'
import { MemoryEngine } from '../../src/engines/memory/index.ts'
import { DeferQ, task, Worker } from '../../src/index.ts'

const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const HOUR = 3_600_000
const JUMPS = [60_000, -HOUR, 24 * HOUR]

let uninstall = (): void => {}
afterEach(() => uninstall())

function scene(run: (params: unknown) => unknown) {
  const time = new TestEnvironment()
  uninstall = time.install()
  const job = task('job', { retries: 3, backoff: '1m', resultTtl: '10m', run })
  const deferq = new DeferQ({ tasks: [job], engine: new MemoryEngine(), logger: SILENT })
  const worker = new Worker(deferq, { sleep: '5s', lease: '30s' })
  const ran = worker.run()
  const end = async (): Promise<void> => {
    const stopped = worker.stop()
    await time.advance(60_000)
    await stopped
    await ran
    await deferq.close()
  }
  return { time, deferq, end }
}

for (const jump of JUMPS) {
  test(`a run under way is begun once when the wall clock jumps by ${jump} ms`, async () => {
    let begun = 0
    let finish = (): void => {}
    const { time, deferq, end } = scene(() => {
      begun++
      return new Promise<void>((resolve) => (finish = resolve))
    })
    const { taskId } = await deferq.dispatch('job', 1)
    await time.advance(2_000)
    time.jump(jump)
    await time.advance(120_000)
    expect(begun).toBe(1)
    finish()
    await time.advance(1_000)
    expect((await deferq.getStatus(taskId)).status).toBe('completed')
    await end()
  })

  test(`delays, retries and expiry are on time when the wall clock jumps by ${jump} ms`, async () => {
    const at: number[] = []
    const { time, deferq, end } = scene(() => {
      at.push(environment.monotonic())
      if (at.length === 1) throw new Error('once more')
      return 'done'
    })
    const begun = environment.monotonic()
    await deferq.dispatch('job', 1, { delay: '5m' })
    await time.advance(60_000)
    time.jump(jump)
    await time.advance(241_500)
    expect(at.map((moment) => Math.floor((moment - begun) / 1_000))).toEqual([300])
    time.jump(-jump)
    await time.advance(61_000)
    expect(at).toHaveLength(2)
    expect(Math.floor(((at[1] as number) - (at[0] as number)) / 1_000)).toBe(60)
    time.jump(jump)
    await time.advance(9 * 60_000)
    expect((await deferq.dispatch('job', 1)).outcome).toBe('hit')
    await time.advance(60_000)
    expect((await deferq.dispatch('job', 1)).outcome).toBe('created')
    await end()
  })

  test(`runAt means a moment of the wall clock, which jumps by ${jump} ms`, async () => {
    const at: number[] = []
    const { time, deferq, end } = scene(() => at.push(environment.now()))
    const due = environment.now() + 26 * HOUR
    const { taskId } = await deferq.dispatch('job', 1, { runAt: due })
    await time.advance(60_000)
    time.jump(jump)
    await time.advance(5_000)
    expect((await deferq.getStatus(taskId)).dueAt.getTime()).toBe(due)
    await time.advance(due - environment.now() - 1_000)
    expect(at).toEqual([])
    await time.advance(3_000)
    expect(at).toHaveLength(1)
    expect((at[0] as number) - due).toBeLessThan(2_000)
    await end()
  })
}
