// Provides the server that a run measures on: a Redis without persistence, a PostgreSQL or RabbitMQ as it is installed, else one it is told of.
import { execFileSync, spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, chown, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

// The shell ends the server when its input closes, and that happens even when this process is killed.
const GUARD = '"$@" & read -r _; kill $! 2>/dev/null; wait'

/** redis-server from PATH, else DEFERQ_TEST_REDIS_URL, whose database is then emptied between rounds. */
export async function startRedis() {
  const program = await onPath('redis-server')
  if (program !== undefined) return ownRedis(program)
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

/** Masters of its own, as the tests start them; `sizes` answers how many keys each holds. */
export async function startCluster(masters) {
  const { register } = await import('tsx/esm/api')
  register()
  const { startRedisCluster } = await import('../test/servers/redis.ts')
  const { url, urls, stop } = await startRedisCluster(masters)
  const { Redis } = await import('ioredis')
  const sizes = () =>
    Promise.all(
      urls.map(async (each) => {
        const client = new Redis(each)
        try {
          return await client.dbsize()
        } finally {
          client.disconnect()
        }
      }),
    )
  return { url, sizes, stop }
}

/** postgres from its own folders or PATH, else DEFERQ_TEST_POSTGRES_URL, whose schemas are then dropped between rounds. */
export async function startPostgres() {
  const versions = await readdir('/usr/lib/postgresql').catch(() => [])
  const folders = versions.sort((a, b) => b - a).map((version) => `/usr/lib/postgresql/${version}/bin`)
  const program = await onPath('postgres', folders)
  if (program !== undefined) return ownPostgres(program)
  const url = process.env.DEFERQ_TEST_POSTGRES_URL
  if (url) return { url, stop: async () => {} }
  throw new Error(
    'The benchmark needs PostgreSQL: put postgres on PATH, or set DEFERQ_TEST_POSTGRES_URL to a server whose schemas may be dropped.',
  )
}

async function ownRedis(program) {
  const dir = await mkdtemp(join(tmpdir(), 'deferq-bench-'))
  const port = await freePort()
  const argv = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir]
  const client = async (url) => {
    const { Redis } = await import('ioredis')
    const asked = new Redis(url, { lazyConnect: true, retryStrategy: null })
    asked.on('error', () => {})
    return { ask: () => asked.connect().then(() => asked.ping()), close: () => asked.disconnect() }
  }
  return started({ program, argv, dir, url: `redis://127.0.0.1:${port}`, client })
}

async function ownPostgres(program) {
  const dir = await mkdtemp(join(tmpdir(), 'deferq-bench-'))
  const port = await freePort()
  const user = await ordinaryUser()
  if (user) await chown(dir, user.uid, user.gid)
  const data = join(dir, 'data')
  const init = ['-D', data, '-U', 'postgres', '-E', 'UTF8', '--locale=C', '-A', 'trust']
  execFileSync(join(dirname(program), 'initdb'), init, { cwd: dir, stdio: 'ignore', ...user })
  const argv = [
    '-D',
    data,
    '-p',
    `${port}`,
    '-c',
    'listen_addresses=127.0.0.1',
    '-c',
    'unix_socket_directories=',
  ]
  const client = async (url) => {
    const { default: pg } = await import('pg')
    const asked = new pg.Client({ connectionString: url })
    asked.on('error', () => {})
    return {
      ask: () => asked.connect().then(() => asked.query('select 1')),
      close: () => asked.end().catch(() => {}),
    }
  }
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  return started({ program, argv, dir, url, client, user })
}

/** PostgreSQL does not run as root. */
async function ordinaryUser() {
  if (process.getuid?.() !== 0) return undefined
  const [, uid, gid] = /^postgres:[^:]*:(\d+):(\d+)/m.exec(await readFile('/etc/passwd', 'utf8')) ?? []
  if (uid === undefined) throw new Error("PostgreSQL does not run as root, and there is no user 'postgres'.")
  return { uid: Number(uid), gid: Number(gid) }
}

async function started({ program, argv, dir, url, client, user }) {
  const shell = spawn('sh', ['-c', GUARD, 'sh', program, ...argv], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: dir,
    ...user,
  })
  const ended = new Promise((resolve) => shell.once('exit', resolve))
  const stop = async () => {
    shell.stdin.end()
    await ended
    await rm(dir, { recursive: true, force: true })
  }
  try {
    await answers(url, client)
  } catch (error) {
    await stop()
    throw error
  }
  return { url, stop }
}

async function answers(url, client) {
  const deadline = Date.now() + 10_000
  for (;;) {
    const { ask, close } = await client(url)
    try {
      await ask()
      return
    } catch (cause) {
      if (Date.now() > deadline) throw new Error(`The server at ${url} did not start.`, { cause })
      await sleep(20)
    } finally {
      await close()
    }
  }
}

async function onPath(name, folders = []) {
  for (const folder of [...folders, ...(process.env.PATH ?? '').split(delimiter).filter(Boolean)]) {
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
