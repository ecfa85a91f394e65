// Runs one redis-server process: a free port, its own folder, faults on demand, and no orphan whatever happens.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { send } from './wire.ts'

export interface RunningRedis {
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
  pause(): void
  continue(): void
}

export interface Launch {
  program: string
  port: number
  dir: string
  /** For a folder that is the caller's own: stop() leaves it. */
  keepDir?: boolean
  argv: readonly string[]
}

export async function launch({ program, port, dir, keepDir, argv }: Launch): Promise<RunningRedis> {
  let child = await up()

  async function up(): Promise<ChildProcess> {
    const started = spawn(program, argv, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
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
      await until(`redis-server on port ${port} answers`, 15_000, async () => {
        if (gone(started)) throw new Refused(`redis-server on port ${port} did not start:\n${log}`)
        return answersPing(port)
      })
    } catch (error) {
      started.kill('SIGKILL')
      throw error
    }
    return started
  }

  async function down(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (gone(child)) return
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill('SIGCONT') // a paused process hears SIGTERM only when it runs again
    child.kill(signal)
    const force = setTimeout(() => child.kill('SIGKILL'), 3_000)
    await ended
    clearTimeout(force)
  }

  return {
    port,
    dir,
    get pid() {
      return child.pid ?? 0
    },
    async stop() {
      await down('SIGTERM')
      if (!keepDir) await rm(dir, { recursive: true, force: true })
    },
    kill9: () => down('SIGKILL'),
    async restart() {
      await down('SIGTERM')
      child = await up()
    },
    pause: () => void child.kill('SIGSTOP'),
    continue: () => void child.kill('SIGCONT'),
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

async function answersPing(port: number): Promise<boolean> {
  // A server that wants a password is up too; one that is still loading its file isn't.
  return send(port, ['PING'], 500).then(
    () => true,
    (error: Error) => error.message.startsWith('NOAUTH'),
  )
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
