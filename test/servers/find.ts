// Finds a redis-server program, or a server that already runs, or installs one where it may.
import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { access, readFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const INSTALL_LIMIT_MS = 240_000
const DISTRIBUTION_PID_FILE = '/run/redis/redis-server.pid'

export type Found = { program: string; url?: undefined } | { program?: undefined; url: string }

let search: Promise<Found> | undefined

/** In this order: redis-server on PATH, DEFERQ_TEST_REDIS_URL, installation by apt-get (as root), an Error. */
export function findRedis(): Promise<Found> {
  // One search per process, a failed one too: three servers must not wait for three installations.
  search ??= look()
  return search
}

/** The program, for what a bare URL can't give: faults, a cluster, sentinels. */
export async function redisProgram(what: string, variable?: string): Promise<string> {
  const { program } = await findRedis()
  if (program) return program
  const instead = variable ? `, or point ${variable} at one that runs` : ''
  throw new Error(`${what} needs the redis-server program on PATH: install redis-server${instead}.`)
}

async function look(): Promise<Found> {
  const program = await onPath('redis-server')
  if (program) return { program }

  const url = process.env.DEFERQ_TEST_REDIS_URL
  if (url) return { url }

  const aptGet = process.getuid?.() === 0 ? await onPath('apt-get') : undefined
  const cause = aptGet ? await install(aptGet) : undefined
  const installed = await onPath('redis-server')
  if (installed) return { program: installed }

  throw new Error(
    'No Redis for the tests. Install redis-server (Debian, Ubuntu: apt-get install redis-server; ' +
      'macOS: brew install redis) so that it is on PATH, or set DEFERQ_TEST_REDIS_URL to a server that may be ' +
      'written to.',
    { cause },
  )
}

async function install(aptGet: string): Promise<unknown> {
  process.stderr.write('deferq tests: no redis-server on PATH, installing it with apt-get …\n')
  const deadline = Date.now() + INSTALL_LIMIT_MS
  const apt = (...args: string[]) =>
    run(aptGet, ['-o', 'DPkg::Lock::Timeout=120', ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      timeout: Math.max(1_000, deadline - Date.now()),
      maxBuffer: 64 << 20,
    })
  try {
    // A stale or half-refused list is no reason to give up: the install that follows decides.
    await apt('update').catch(() => undefined)
    await apt('install', '-y', '--no-install-recommends', 'redis-server')
    return undefined
  } catch (error) {
    return error
  } finally {
    await stopDistributionService()
  }
}

// The package may start its own server on 6379. It wasn't there before, so nobody but us wants it gone.
async function stopDistributionService(): Promise<void> {
  const pid = Number(await readFile(DISTRIBUTION_PID_FILE, 'utf8').catch(() => ''))
  if (!(await isRedis(pid))) return
  await run('service', ['redis-server', 'stop'], { timeout: 15_000 }).catch(() => undefined)
  for (let tries = 0; tries < 50 && (await isRedis(pid)); tries++) {
    if (tries % 25 === 0) process.kill(pid, tries ? 'SIGKILL' : 'SIGTERM')
    await sleep(100)
  }
}

async function isRedis(pid: number): Promise<boolean> {
  if (!(pid > 1)) return false
  const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
  return command.startsWith('redis-server')
}

async function onPath(name: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (!folder) continue
    const file = join(folder, name)
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return file
  }
  return undefined
}
