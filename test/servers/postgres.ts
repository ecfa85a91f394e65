// Starts real PostgreSQL servers for tests, and pgbouncer in front of one.
import { execFile } from 'node:child_process'
import { chown, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { find, PGBOUNCER, POSTGRES, programOf } from './find.ts'
import type { RunningServer } from './process.ts'
import { launch, newFolder, onFreePort } from './process.ts'

const run = promisify(execFile)

export interface PostgresServer extends RunningServer {
  readonly url: string
}

export interface PostgresOptions {
  /** Server options, for example ['-c', 'max_connections=5']. */
  args?: readonly string[]
  /** Asked of everybody who connects; nobody is asked unless it is given. */
  password?: string
  /** Commits reach the disk, for tests that crash the server. */
  fsync?: boolean
}

/** One server of its own on a free loopback port; for everything but faults, share the one of global.ts. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  return startServer(await programOf(POSTGRES, 'A PostgreSQL server of its own'), options)
}

/** The shared server's URL: DEFERQ_TEST_POSTGRES_URL where there is nothing to start. */
export async function startSharedPostgres(): Promise<{ url: string; stop(): Promise<void> }> {
  const { program, url } = await find(POSTGRES)
  return program ? startServer(program, {}) : { url: url as string, stop: async () => undefined }
}

async function startServer(program: string, options: PostgresOptions): Promise<PostgresServer> {
  const { args = [], password, fsync = false } = options
  const user = await ordinaryUser()
  const dir = await newFolder()
  if (user) await chown(dir, user.uid, user.gid)
  const data = join(dir, 'data')
  const secret = join(dir, 'password')
  if (password) await writeFile(secret, `${password}\n`, { mode: 0o644 })
  const auth = password ? ['-A', 'scram-sha-256', `--pwfile=${secret}`] : ['-A', 'trust']
  const init = ['-D', data, '-U', 'postgres', '-E', 'UTF8', '--locale=C', '--no-sync', ...auth]
  await run(join(dirname(program), 'initdb'), init, { cwd: dir, ...user })
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: 200,
    fsync: fsync ? 'on' : 'off',
    full_page_writes: fsync ? 'on' : 'off',
  }
  return onFreePort(async (port) => {
    const url = `postgres://postgres${password ? `:${password}` : ''}@127.0.0.1:${port}/postgres`
    const server = await launch({
      what: 'postgres',
      program,
      port,
      dir,
      ready: () => answers(url),
      user,
      end: 'SIGINT', // at once, without waiting for its clients to leave
      forks: true,
      argv: [
        ...['-D', data, '-p', `${port}`],
        ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
        ...args,
      ],
    })
    return Object.defineProperty(server, 'url', { value: url }) as PostgresServer
  })
}

/** A pgbouncer in transaction mode: every transaction may come to another connection of the server. */
export async function startPgbouncer(postgresUrl: string): Promise<PostgresServer> {
  const program = await programOf(PGBOUNCER, 'A pooler in front of PostgreSQL')
  const user = await ordinaryUser()
  const { hostname, port: behind, username, pathname } = new URL(postgresUrl)
  const dir = await newFolder()
  if (user) await chown(dir, user.uid, user.gid)
  return onFreePort(async (port) => {
    const file = join(dir, 'pgbouncer.ini')
    const config = {
      listen_addr: '127.0.0.1',
      listen_port: port,
      unix_socket_dir: '',
      auth_type: 'any',
      pool_mode: 'transaction',
      default_pool_size: 20,
      max_client_conn: 500,
    }
    const lines = Object.entries(config).map(([name, value]) => `${name} = ${value}`)
    const database = `* = host=${hostname} port=${behind || 5432} user=${username || 'postgres'}`
    await writeFile(file, ['[databases]', database, '[pgbouncer]', ...lines, ''].join('\n'), { mode: 0o644 })
    const url = `postgres://postgres@127.0.0.1:${port}${pathname}`
    const ready = () => answers(url)
    const server = await launch({ what: 'pgbouncer', program, port, dir, ready, user, argv: [file] })
    return Object.defineProperty(server, 'url', { value: url }) as PostgresServer
  })
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 })
  client.on('error', () => undefined) // told by the query, too
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** Neither program runs as root. */
async function ordinaryUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const users = await readFile('/etc/passwd', 'utf8')
  const found = /^postgres:[^:]*:(\d+):(\d+)/m.exec(users) ?? /^nobody:[^:]*:(\d+):(\d+)/m.exec(users)
  if (!found) throw new Error("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'.")
  return { uid: Number(found[1]), gid: Number(found[2]) }
}
