// Provides the server that a run measures on: one of its own (Redis without persistence), else the one it is told of.
import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'

// The shell ends the server when its input closes, and that happens even when this process is killed.
const GUARD = '"$@" & read -r _; kill $! 2>/dev/null; wait'

/** redis-server from PATH, else DEFERQ_TEST_REDIS_URL, whose database is then emptied between rounds. */
export async function startServer() {
  const program = await onPath('redis-server')
  if (program !== undefined) return ownServer(program)
  const url = process.env.DEFERQ_TEST_REDIS_URL
  if (url) return { url, stop: async () => {} }
  throw new Error(
    'The benchmark needs Redis: put redis-server on PATH, or set DEFERQ_TEST_REDIS_URL to a server whose database may be emptied.',
  )
}

/** A node of its own, started as the tests do it. */
export async function startRabbitmq() {
  const { register } = await import('tsx/esm/api')
  register()
  const { startSharedRabbitmq } = await import('../test/servers/rabbitmq.ts')
  return startSharedRabbitmq()
}

async function ownServer(program) {
  const port = await freePort()
  const dir = await mkdtemp(join(tmpdir(), 'deferq-bench-'))
  const argv = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir]
  const shell = spawn('sh', ['-c', GUARD, 'sh', program, ...argv], { stdio: ['pipe', 'ignore', 'inherit'] })
  const ended = new Promise((resolve) => shell.once('exit', resolve))
  const url = `redis://127.0.0.1:${port}`
  const stop = async () => {
    shell.stdin.end()
    await ended
    await rm(dir, { recursive: true, force: true })
  }
  try {
    await answers(url)
  } catch (error) {
    await stop()
    throw error
  }
  return { url, stop }
}

async function answers(url) {
  const deadline = Date.now() + 10_000
  for (;;) {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: null })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.ping()
      return
    } catch (cause) {
      if (Date.now() > deadline) throw new Error(`The Redis server at ${url} did not start.`, { cause })
      await sleep(20)
    } finally {
      client.disconnect()
    }
  }
}

async function onPath(name) {
  for (const folder of (process.env.PATH ?? '').split(delimiter).filter(Boolean)) {
    const file = join(folder, name)
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return file
  }
  return undefined
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}
