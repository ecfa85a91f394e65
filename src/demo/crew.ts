// Keeps one worker process: starts it, replaces it when it dies, and ends it.

import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { sleep } from '../base/time.ts'

// The compiled file beside a compiled one, the source beside a source.
const FILE = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url),
)
const PATIENCE_MS = 5_000

export class Crew {
  readonly #folder: string
  readonly #say: (text: string) => void
  #child: ChildProcess | undefined
  #ended: Promise<void> = Promise.resolve()
  #stopping = false

  constructor(folder: string, say: (text: string) => void) {
    this.#folder = folder
    this.#say = say
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Settles once the worker has opened the store. */
  async start(): Promise<void> {
    const child = fork(FILE, [this.#folder], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child = child
    let ready = false
    this.#ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        resolve()
        if (ready && !this.#stopping) this.#replace(child.pid, signal ?? `code ${code}`)
      })
    })
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => {
        ready = true
        resolve()
      })
      child.once('error', (error) =>
        reject(new Error(`The worker process can't be started: ${error.message}`)),
      )
      child.once('exit', (code, signal) =>
        reject(new Error(`The worker process ended at its start (${signal ?? `code ${code}`}).`)),
      )
    })
  }

  /** SIGTERM, and SIGKILL for one that doesn't heed it. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#child?.kill('SIGTERM')
    const patience = new AbortController()
    let ended = false
    const end = this.#ended.then(() => {
      ended = true
    })
    await Promise.race([end, sleep(PATIENCE_MS, patience.signal)])
    if (!ended) this.#child?.kill('SIGKILL')
    patience.abort()
    await this.#ended
  }

  #replace(pid: number | undefined, how: string): void {
    this.start().then(
      () =>
        this.#say(
          `The worker process ${pid} has died (${how}). Process ${this.pid} takes over what it ran, once its lease is over.`,
        ),
      (error: Error) => {
        if (!this.#stopping) this.#say(`The worker process ${pid} has died (${how}). ${error.message}`)
      },
    )
  }
}
