// Runs one server process: a free port, its own folder, faults on demand, and no orphan whatever happens.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface RunningServer {
  readonly port: number
  readonly dir: string
  /** Of the process that runs now: another one after restart(). */
  readonly pid: number
  /** Ends it in order and deletes its temporary folder. Harmless when repeated. */
  stop(): Promise<void>
  /** A crash: SIGKILL. The folder stays, so that restart() finds what had been written. */
  kill9(): Promise<void>
  /** Starts it again on the same port and folder; stops it in order first if it still runs. */
  restart(): Promise<void>
  /** SIGSTOP: it holds its connections open and answers nobody. */
  pause(): Promise<void>
  continue(): void
}

export interface Launch {
  /** For messages: 'redis-server' */
  what: string
  program: string
  port: number
  /** Whether the server answers; what it throws counts as "not yet". */
  ready: (port: number) => Promise<boolean>
  dir: string
  /** For a folder that is the caller's own: stop() leaves it. */
  keepDir?: boolean
  argv: readonly string[]
  /** Beside those of this process. */
  env?: Readonly<Record<string, string>>
  /** How long it may take to answer: 15 s. */
  withinMs?: number
  /** For programs that refuse to run as root. */
  user?: { uid: number; gid: number } | undefined
  /** What ends it in order: SIGTERM unless given. */
  end?: NodeJS.Signals
  /** It works in child processes, which share its faults. */
  forks?: boolean
}

export async function launch(options: Launch): Promise<RunningServer> {
  const { what, program, port, ready, dir, keepDir, argv, user, end = 'SIGTERM', forks } = options
  const { withinMs = 15_000 } = options
  const env = options.env && { ...process.env, ...options.env }
  let child = await up()

  async function up(): Promise<ChildProcess> {
    const started = spawn(program, argv, { cwd: dir, env, stdio: ['ignore', 'pipe', 'pipe'], ...user })
    let log = ''
    const keep = (chunk: Buffer | Error) => {
      log = (log + chunk).slice(-4_000)
    }
    started.stdout.on('data', keep)
    started.stderr.on('data', keep)
    started.on('error', keep)
    if (started.pid) guard('+', started.pid)
    started.once('exit', () => started.pid && guard('-', started.pid))
    // A test that forgets to stop a server must not keep its process from ending.
    for (const held of [started, started.stdout, started.stderr]) (held as { unref?: () => void }).unref?.()
    try {
      await until(`${what} on port ${port} answers`, withinMs, async () => {
        if (gone(started)) throw new Refused(`${what} on port ${port} did not start:\n${log}`)
        return ready(port)
      })
    } catch (error) {
      started.kill('SIGKILL')
      throw error
    }
    return started
  }

  async function down(signal: NodeJS.Signals): Promise<void> {
    if (gone(child)) return
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    if (signal === 'SIGKILL') {
      all('SIGSTOP') // so that nobody forks while they die
      all('SIGKILL')
    } else {
      all('SIGCONT') // a paused process hears a signal only when it runs again
      child.kill(signal)
    }
    const force = setTimeout(() => all('SIGKILL'), 3_000)
    await ended
    clearTimeout(force)
  }

  function all(signal: NodeJS.Signals): number[] {
    // Listed before it dies: after that they are nobody's children.
    const children = forks && child.pid ? childrenOf(child.pid) : []
    child.kill(signal)
    for (const pid of children) {
      try {
        process.kill(pid, signal)
      } catch {
        // It has ended meanwhile.
      }
    }
    return child.pid ? [child.pid, ...children] : children
  }

  return {
    port,
    dir,
    get pid() {
      return child.pid ?? 0
    },
    async stop() {
      await down(end)
      if (!keepDir) await rm(dir, { recursive: true, force: true })
    },
    kill9: () => down('SIGKILL'),
    async restart() {
      await down(end)
      for (let tries = 1; ; tries++) {
        try {
          child = await up()
          return
        } catch (error) {
          // What its children held takes a moment to be free.
          if (tries === 50 || !/still in use/.test(String(error))) throw error
        }
        await sleep(100)
      }
    },
    async pause() {
      const stopped = all('SIGSTOP')
      // A thread stops when it is scheduled next: on a busy machine, others answer on meanwhile.
      await until(`${what} stands still`, 5_000, async () => stopped.every(standsStill))
    },
    continue: () => void all('SIGCONT'),
  }
}

/** Retries on another port when somebody takes the one that was free a moment ago. */
export async function onFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await start(await freePort())
    } catch (error) {
      if (tries === 5 || !/in use|bind:/i.test(String(error))) throw error
    }
  }
}

export function newFolder(): Promise<string> {
  return mkdtemp(join(root(), 'server-'))
}

/** Asks until it holds; what the question throws counts as "not yet", except Refused. */
export async function until(what: string, withinMs: number, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + withinMs
  let last: unknown
  while (Date.now() < deadline) {
    try {
      if (await holds()) return
    } catch (error) {
      if (error instanceof Refused) throw error
      last = error
    }
    await sleep(20)
  }
  throw new Error(`Not within ${withinMs} ms: ${what}.`, { cause: last })
}

class Refused extends Error {}

// Where there is no /proc, the children of a server that dies end by themselves a moment later.
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** Whether none of its threads runs; where the system does not tell, the signal has to do. */
function standsStill(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  try {
    // The state is the first word behind the name, which stands in brackets: stopped, or ended while its parent is stopped.
    return readdirSync(tasks).every((task) =>
      /^.*\) [TZ] /s.test(readFileSync(`${tasks}/${task}/stat`, 'utf8')),
    )
  } catch {
    return true
  }
}

function gone(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}

// Below the range that the system hands to outgoing connections, and with room for a cluster's bus at +10000.
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = 12_000 + Math.floor(Math.random() * 10_000)
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port
  }
  throw new Error('No free port between 12000 and 22000 on 127.0.0.1.')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

// A shell that reads the living pids from a pipe. The pipe closes when this process ends, even by SIGKILL, which no
// exit handler survives; the shell then kills what is left and deletes the folders.
const WATCH = `
alive=' '
while read -r op pid; do
  case $op in
    +) alive="$alive$pid " ;;
    -) case $alive in *" $pid "*) alive="\${alive%% $pid *} \${alive#* $pid }" ;; esac ;;
  esac
done
for pid in $alive; do kill -9 "$pid" 2>/dev/null; done
rm -rf "$1"
`
let watcher: { child: ChildProcess; root: string } | undefined

function watch(): { child: ChildProcess; root: string } {
  if (watcher) return watcher
  const folder = mkdtempSync(join(tmpdir(), 'deferq-test-'))
  chmodSync(folder, 0o711) // a server that runs as another user reaches its own folder in here
  const child = spawn('sh', ['-c', WATCH, 'sh', folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  child.unref()
  ;(child.stdin as unknown as { unref(): void }).unref()
  watcher = { child, root: folder }
  return watcher
}

function root(): string {
  return watch().root
}

function guard(op: '+' | '-', pid: number): void {
  watch().child.stdin?.write(`${op} ${pid}\n`)
}
