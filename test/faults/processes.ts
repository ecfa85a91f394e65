// Processes of their own for a test: started, listened to, frozen, killed, and never left behind.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { eventually } from '../facade/places.ts'

export interface Process {
  readonly pid: number
  signal(signal: NodeJS.Signals): void
  say(line: string): void
  /** What it said after 'ready', once it has ended; with the code or signal of its end. */
  ended(): Promise<{ code: number | null; signal: string | null; said: string }>
}

/** Waits until it says that it is ready. */
export async function start(fixture: string, ...args: string[]): Promise<Process> {
  const file = fileURLToPath(new URL(`${fixture}.fixture.ts`, import.meta.url))
  const child: ChildProcess = spawn(process.execPath, ['--import', 'tsx', file, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close') as Promise<[number | null, string | null]>
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended
  })
  let said = ''
  child.stdout?.on('data', (chunk) => {
    said += chunk
  })
  await eventually(`${fixture} is ready`, () => {
    if (child.exitCode !== null) throw new Error(`${fixture} ended with ${child.exitCode}: ${said}`)
    return said.startsWith('ready\n')
  })
  return {
    pid: child.pid as number,
    signal: (signal) => void child.kill(signal),
    say: (line) => void child.stdin?.end(`${line}\n`),
    ended: async () => {
      const [code, signal] = await ended
      return { code, signal, said: said.slice('ready\n'.length) }
    },
  }
}

/** A file that processes append to, read as words. */
export async function journal(): Promise<{ file: string; lines(first: string): string[][] }> {
  const folder = await mkdtemp(join(tmpdir(), 'deferq-test-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'log')
  const read = (): string => {
    try {
      return readFileSync(file, 'utf8')
    } catch {
      return ''
    }
  }
  return {
    file,
    lines: (first) =>
      read()
        .split('\n')
        .map((line) => line.split(' '))
        .filter(([word]) => word === first),
  }
}
