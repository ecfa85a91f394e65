// The Redis behind @keyv/redis and redlock is killed, frozen and started again.
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Draft, Engine } from '../../src/contract/engine.ts'
import { composed, memoryLock } from '../../src/engines/composed/index.ts'
import { MemoryBroker, MemoryTransport } from '../../src/transports/memory.ts'
import { draft, want } from '../redis/drafts.ts'
import type { RedisServer } from '../servers/redis.ts'
import { startRedis } from '../servers/redis.ts'
import { newPrefix } from './memory.ts'
import { redisKeyv, redisLock } from './servers.ts'

interface Scene {
  server: RedisServer
  engine: Engine
}

async function scene(lock: (url: string) => ReturnType<typeof memoryLock> = redisLock): Promise<Scene> {
  const server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  onTestFinished(() => server.stop())
  const queue = new MemoryTransport({ broker: new MemoryBroker() })
  const engine = composed({
    tasks: redisKeyv(server.url),
    lock: lock(server.url),
    queue,
    prefix: newPrefix(),
  })
  onTestFinished(() => engine.close())
  return { server, engine }
}

const calls = (engine: Engine, { id }: Draft): (() => Promise<unknown>)[] => [
  () => engine.admit([{ ...draft(), id: id.slice(0, 64) + draft().id.slice(64) }]),
  () => engine.read([id]),
  () => engine.settle([{ id, token: 'x', kind: 'released' }]),
  () => engine.cancel([id]),
  () => engine.count(),
]

test('a store that is killed: every call is refused in time, nothing is taken for absent, and all goes on after it', async () => {
  const { server, engine } = await scene()
  const first = draft()
  await engine.admit([first])
  await server.kill9()
  const from = performance.now()
  await Promise.all(
    calls(engine, first).map((call) => expect(call()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })),
  )
  expect(performance.now() - from).toBeLessThan(12_000)
  await server.restart()
  await vi.waitFor(async () => expect((await engine.read([first.id]))[0]?.status).toBe('pending'), {
    timeout: 10_000,
    interval: 50,
  })
  await vi.waitFor(async () => expect((await engine.claim(want({ limit: 9 }))).claimed).toHaveLength(1), {
    timeout: 10_000,
    interval: 50,
  })
}, 40_000)

test('a store that answers nobody: every call is refused in time', async () => {
  const { server, engine } = await scene(() => memoryLock())
  const first = draft()
  await engine.admit([first])
  await server.pause()
  const from = performance.now()
  await Promise.all(
    calls(engine, first).map((call) => expect(call()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })),
  )
  expect(performance.now() - from).toBeLessThan(15_000)
  server.continue()
  await vi.waitFor(async () => expect((await engine.read([first.id]))[0]?.status).toBe('pending'), {
    timeout: 10_000,
    interval: 50,
  })
}, 40_000)
