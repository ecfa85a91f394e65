// Finds the program of a server, or a server that already runs, or installs one where it may.
import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { access, readdir, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const INSTALL_LIMIT_MS = 300_000
const POLICY_FILE = '/usr/sbin/policy-rc.d'

export interface Sought {
  /** 'redis-server' */
  program: string
  /** For messages: 'Redis' */
  what: string
  /** The package that brings it: the same name on Debian and Ubuntu. */
  debian: string
  /** And in Homebrew. */
  brew: string
  /** Names the variable with the URL of a server that may be used instead. */
  variable?: string
  /** Beside PATH; a '*' stands for any one folder, the highest version first. */
  folders?: readonly string[]
}

export type Found = { program: string; url?: undefined } | { program?: undefined; url: string }

export const REDIS: Sought = {
  program: 'redis-server',
  what: 'Redis',
  debian: 'redis-server',
  brew: 'redis',
  variable: 'DEFERQ_TEST_REDIS_URL',
}

export const POSTGRES: Sought = {
  program: 'postgres',
  what: 'PostgreSQL',
  debian: 'postgresql',
  brew: 'postgresql',
  variable: 'DEFERQ_TEST_POSTGRES_URL',
  folders: ['/usr/lib/postgresql/*/bin'],
}

export const PGBOUNCER: Sought = {
  program: 'pgbouncer',
  what: 'pgbouncer',
  debian: 'pgbouncer',
  brew: 'pgbouncer',
  folders: ['/usr/sbin'],
}

export const RABBITMQ: Sought = {
  program: 'rabbitmq-server',
  what: 'RabbitMQ',
  debian: 'rabbitmq-server',
  brew: 'rabbitmq',
  variable: 'DEFERQ_TEST_RABBITMQ_URL',
  // Debian's program in /usr/sbin goes through su to another user and its own folders; this one is the server itself.
  folders: ['/usr/lib/rabbitmq/bin', '/opt/homebrew/sbin', '/usr/local/sbin'],
}

const searches = new Map<string, Promise<Found>>()
let installing: Promise<unknown> = Promise.resolve()

/** In this order: the program, the URL in the environment, installation by apt-get (as root), an Error. */
export function find(sought: Sought): Promise<Found> {
  // One search per process, a failed one too: three servers must not wait for three installations.
  let search = searches.get(sought.program)
  if (search === undefined) searches.set(sought.program, (search = look(sought)))
  return search
}

/** The program, for what a bare URL can't give: faults, a cluster, sentinels. */
export async function programOf(sought: Sought, what: string, variable?: string): Promise<string> {
  const { program } = await find(sought)
  if (program) return program
  const instead = variable ? `, or point ${variable} at one that runs` : ''
  throw new Error(`${what} needs the ${sought.program} program: install ${sought.debian}${instead}.`)
}

async function look(sought: Sought): Promise<Found> {
  const program = await onDisk(sought)
  if (program) return { program }

  const url = sought.variable && process.env[sought.variable]
  if (url) return { url }

  const aptGet = process.getuid?.() === 0 ? await onDisk({ program: 'apt-get' }) : undefined
  const cause = aptGet ? await inTurn(() => install(aptGet, sought)) : undefined
  const installed = await onDisk(sought)
  if (installed) return { program: installed }

  throw new Error(
    `No ${sought.what} for the tests. Install ${sought.debian} (Debian, Ubuntu: apt-get install ${sought.debian}; ` +
      `macOS: brew install ${sought.brew}) so that ${sought.program} is found` +
      (sought.variable ? `, or set ${sought.variable} to a server that may be written to.` : '.'),
    { cause },
  )
}

// apt-get lets one at a time in, and its lists need no second refresh.
function inTurn<T>(task: () => Promise<T>): Promise<T> {
  const turn = installing.then(task)
  installing = turn.catch(() => undefined)
  return turn
}

async function install(aptGet: string, { program, debian }: Sought): Promise<unknown> {
  process.stderr.write(`deferq tests: no ${program} here, installing ${debian} with apt-get …\n`)
  const deadline = Date.now() + INSTALL_LIMIT_MS
  const apt = (...args: string[]) =>
    run(aptGet, ['-o', 'DPkg::Lock::Timeout=120', ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      timeout: Math.max(1_000, deadline - Date.now()),
      maxBuffer: 64 << 20,
    })
  const allow = await forbidServices()
  try {
    // A stale or half-refused list is no reason to give up: the install that follows decides.
    await apt('update').catch(() => undefined)
    await apt('install', '-y', '--no-install-recommends', debian)
    return undefined
  } catch (error) {
    return error
  } finally {
    await allow()
  }
}

// Debian's way to install a server without starting it: nobody but the tests wants it, and they start their own.
async function forbidServices(): Promise<() => Promise<void>> {
  try {
    await writeFile(POLICY_FILE, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' })
    return () => rm(POLICY_FILE, { force: true })
  } catch {
    // There is one already, and it is the machine's own to decide.
    return async () => undefined
  }
}

async function onDisk({
  program,
  folders = [],
}: Pick<Sought, 'program' | 'folders'>): Promise<string | undefined> {
  const path = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  const beside = await Promise.all(folders.map(spread))
  for (const folder of [...beside.flat(), ...path]) {
    const file = join(folder, program)
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return file
  }
  return undefined
}

async function spread(folder: string): Promise<string[]> {
  const [before, after] = folder.split('*')
  if (after === undefined) return [folder]
  const versions = await readdir(before as string).catch(() => [] as string[])
  const byVersion = (a: string, b: string) => b.localeCompare(a, 'en', { numeric: true })
  return versions.sort(byVersion).map((version) => `${before}${version}${after}`)
}
