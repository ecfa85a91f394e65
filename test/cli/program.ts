// Builds the programs into a folder of their own, laid out as an installation is, and runs them as child processes.
import type { ChildProcess } from 'node:child_process'
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const LIMIT_MS = 15_000

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** A package that is installed in an app, and a second one without any optional peer. */
export class Installation {
  readonly folder = mkdtempSync(join(tmpdir(), 'deferq-cli-'))
  readonly app = join(this.folder, 'app')
  readonly lone = join(this.folder, 'lone')
  readonly #children = new Set<ChildProcess>()
  #folders = 0

  constructor() {
    const pack = join(this.folder, 'package')
    const rolldown = join(ROOT, 'node_modules/rolldown/bin/cli.mjs')
    // Types are the checks' business.
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [rolldown, '--config', '--dir', join(pack, 'dist')],
      { cwd: ROOT, encoding: 'utf8' },
    )
    if (status !== 0) throw new Error(`The build failed: ${stdout}${stderr}`)
    cpSync(join(ROOT, 'package.json'), join(pack, 'package.json'))
    link(join(ROOT, 'node_modules'), join(pack, 'node_modules'))
    cpSync(join(pack, 'dist'), join(this.lone, 'dist'), { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(this.lone, 'package.json'))
    for (const name of ['croner', 'fast-json-stable-stringify', 'p-retry'])
      link(join(ROOT, 'node_modules', name), join(this.lone, 'node_modules', name))
    link(pack, join(this.app, 'node_modules/deferq'))
    this.write('package.json', '{ "type": "module" }')
  }

  /** A file of the app; answers its path. */
  write(name: string, text: string): string {
    const path = join(this.app, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    return path
  }

  /** A new folder with nothing in it. */
  empty(): string {
    const path = join(this.folder, `empty-${++this.#folders}`)
    mkdirSync(path)
    return path
  }

  start(
    program: 'deferq' | 'deferq-worker',
    args: readonly string[],
    { cwd = this.app, env = {}, from = 'package' as 'package' | 'lone' } = {},
  ): Running {
    const file = join(this.folder, from, 'dist/bin', `${program}.js`)
    const inherited = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(DEFERQ_|DEBUG$|NODE_OPTIONS$|VITEST)/.test(name)),
    )
    const child = spawn(process.execPath, [file, ...args], { cwd, env: { ...inherited, ...env } })
    this.#children.add(child)
    child.on('close', () => this.#children.delete(child))
    return new Running(child, `${program} ${args.join(' ')}`)
  }

  run(
    program: 'deferq' | 'deferq-worker',
    args: readonly string[],
    options: { cwd?: string; env?: Record<string, string>; from?: 'package' | 'lone'; input?: string } = {},
  ): Promise<Ended> {
    const { input, ...rest } = options
    const running = this.start(program, args, rest)
    running.child.stdin?.end(input ?? '')
    return running.ended
  }

  remove(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export class Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  readonly #what: string
  #stdout = ''
  #stderr = ''
  #watch: (() => void)[] = []

  constructor(child: ChildProcess, what: string) {
    this.child = child
    this.#what = what
    child.stdout?.setEncoding('utf8').on('data', (text) => {
      this.#stdout += text
      this.#look()
    })
    child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text
      this.#look()
    })
    this.ended = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL')
        reject(new Error(`${what} did not end. It printed:\n${this.#stdout}\n${this.#stderr}`))
      }, LIMIT_MS)
      child.on('close', (code) => {
        clearTimeout(timer)
        resolve({ code, stdout: this.#stdout, stderr: this.#stderr })
        this.#look()
      })
    })
    // A test that fails first has no ear for this any more.
    this.ended.catch(() => {})
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Until this has been printed, on either stream. */
  until(text: string | RegExp): Promise<void> {
    const there = (): boolean => {
      const all = this.#stdout + this.#stderr
      return typeof text === 'string' ? all.includes(text) : text.test(all)
    }
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (there()) resolve()
        else if (this.child.exitCode !== null || this.child.signalCode !== null)
          reject(
            new Error(`${this.#what} ended before it printed ${text}:\n${this.#stdout}\n${this.#stderr}`),
          )
        else return
        this.#watch = this.#watch.filter((each) => each !== look)
      }
      this.#watch.push(look)
      look()
      this.ended.catch(reject)
    })
  }

  #look(): void {
    for (const look of [...this.#watch]) look()
  }
}

function link(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  symlinkSync(from, to, 'junction')
}
