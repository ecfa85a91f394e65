// Waits that end, are aborted, or lose their store: no listener and no timer stays behind. Its clock is a false one.
import { getEventListeners } from 'node:events'
import { afterEach, expect, test, vi } from 'vitest'
import { DeferQ, DeferqError, task } from '../../src/index.ts'
import { breakable, eventually, failing, memory, SILENT } from './places.ts'

afterEach(() => {
  vi.useRealTimers()
})

test('a wait that is over leaves no listener behind, and soon no timer', async () => {
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
  })
  const deferq = memory().deferq({ tasks: [task('x', { run: (n: number) => n })] })
  const { signal } = new AbortController()
  // The look for lost news may come once more, holding nothing meanwhile.
  const clean = async (): Promise<void> => {
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(vi.getTimerCount()).toBe(0)
  }
  const { taskId } = await deferq.dispatch('x', 1, { delay: '1h', signal })
  await clean()

  const overdue = failing('WAIT_TIMEOUT', deferq.result(taskId, { timeout: 20, signal }))
  const late = failing('WAIT_TIMEOUT', deferq.run('x', 1, { wait: 20, signal }))
  await vi.advanceTimersByTimeAsync(25)
  expect((await overdue).message).toContain('20 ms')
  await late
  await clean()

  const aborting = new AbortController()
  const waits = [
    deferq.result(taskId, { signal: aborting.signal, timeout: '1h' }),
    deferq.result(taskId, { signal: aborting.signal }),
    deferq.run('x', 1, { signal: aborting.signal, wait: '1h' }),
  ].map((wait) => failing('ABORTED', wait))
  await vi.advanceTimersByTimeAsync(5_000)
  expect(getEventListeners(aborting.signal, 'abort')).toHaveLength(3)
  aborting.abort(new Error('enough'))
  for (const error of await Promise.all(waits)) expect(error.cause).toMatchObject({ message: 'enough' })
  for (const call of [
    () => deferq.result(taskId, { signal: aborting.signal }),
    () => deferq.dispatch('x', 2, { signal: aborting.signal }),
    () => deferq.run('x', 2, { signal: aborting.signal }),
    () => deferq.dispatchMany([{ name: 'x', params: 2, options: { signal: aborting.signal } }]),
  ]) {
    await failing('ABORTED', call)
  }
  expect(getEventListeners(aborting.signal, 'abort')).toHaveLength(0)
  expect((await deferq.stats()).totals).toEqual({ created: 1, joined: 2 })
  expect((await deferq.getStatus(taskId)).status).toBe('pending')
  await clean()

  await deferq.cancel(taskId)
  const ends = Array.from({ length: 9 }, (_, n) =>
    failing('TASK_CANCELLED', deferq.result(taskId, { timeout: n + 1_000, signal })),
  )
  await Promise.all(ends)
  await clean()
})

test('an abort ends a dispatch that the store does not answer', async () => {
  const broken = breakable()
  const deferq = new DeferQ({ engine: broken.engine, logger: SILENT })
  await deferq.open()
  broken.hang(['admit'])
  const aborting = new AbortController()
  const calls = [
    deferq.dispatch('x', 1, { signal: aborting.signal }),
    deferq.run('x', 2, { signal: aborting.signal }),
    deferq.dispatchMany([{ name: 'x', params: 3, options: { signal: aborting.signal } }]),
  ].map((call) => failing('ABORTED', call))
  const other = deferq.dispatch('x', 1)
  await eventually('all are on their way', () => getEventListeners(aborting.signal, 'abort').length === 3)
  aborting.abort()
  await Promise.all(calls)
  expect(getEventListeners(aborting.signal, 'abort')).toHaveLength(0)
  broken.mend()
  expect((await other).outcome).toBe('joined')
  await deferq.close()
})

test('a store that is away: calls fail at once, waits once their patience is over, and not when it comes back', async () => {
  const broken = breakable()
  const deferq = new DeferQ({
    engine: broken.engine,
    logger: SILENT,
    tasks: [task('x', { run: () => 'back' })],
  })
  const { taskId } = await deferq.dispatch('x', {})
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
  broken.break(['read', 'admit', 'cancel', 'count', 'list', 'invalidate'])
  for (const call of [
    () => deferq.dispatch('x', {}),
    () => deferq.getStatus(taskId),
    () => deferq.cancel(taskId),
    () => deferq.invalidate('x'),
    () => deferq.list(),
    () => deferq.stats(),
  ]) {
    await failing('STORE_UNAVAILABLE', call)
  }
  let settled = false
  const waiting = deferq.result(taskId).finally(() => {
    settled = true
  })
  await vi.advanceTimersByTimeAsync(12_000)
  expect(settled).toBe(false)
  broken.mend()
  await vi.advanceTimersByTimeAsync(2_000)
  broken.break(['read'])
  await vi.advanceTimersByTimeAsync(12_000)
  expect(settled).toBe(false)
  const failed = failing('STORE_UNAVAILABLE', waiting)
  await vi.advanceTimersByTimeAsync(5_000)
  await failed
  expect(vi.getTimerCount()).toBe(0)

  const surprise = failing('STORE_UNAVAILABLE', deferq.result(taskId))
  broken.break(['read'], new TypeError('no engine should throw this'))
  await vi.advanceTimersByTimeAsync(17_000)
  expect((await surprise).cause).toBeInstanceOf(TypeError)
  broken.break(['read'], new DeferqError('STORE_MISMATCH', 'Another version wrote this.'))
  await failing('STORE_MISMATCH', deferq.result(taskId))
  broken.mend()
  vi.useRealTimers()
  await deferq.close()
})
