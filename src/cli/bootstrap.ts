// Loads a bootstrap file (a user's module, TypeScript too) and says what its default export is, or what is wrong with it.

import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { environment } from '../base/environment.ts'
import { DeferqError, isDeferqError } from '../base/errors.ts'
import type { DeferQ } from '../deferq.ts'
import type { Worker, WorkerOptions } from '../worker/worker.ts'

// biome-ignore lint/suspicious/noExplicitAny: a bootstrap's deferq has any tasks
export type AnyDeferQ = DeferQ<any>

/**
 * What a bootstrap came to; `deaf` says why what it made can't heed the options. `handlers` is for those who consume messages.
 */
export type Bootstrapped = { deaf?: string | undefined; handlers?: unknown } & (
  | { worker: Worker; deferq: AnyDeferQ }
  | { worker?: undefined; deferq: AnyDeferQ }
)

const EXPECTED =
  'Its default export must be a DeferQ, a Worker, or a function of the worker options that returns one of them'
const SLOW_MS = 10_000

export async function loadBootstrap(
  path: string,
  options: WorkerOptions,
  remark: (message: string) => void = () => {},
): Promise<Bootstrapped> {
  const file = resolve(path)
  checkFile(path, file)
  const module = await whileLoading(path, remark, () => importModule(path, file))
  let exported = defaultOf(module)
  if (exported === undefined) {
    const names = Object.keys(module).filter((name) => name !== '__esModule')
    const found = names.length === 0 ? 'nothing' : `${names.join(', ')}, and no default`
    throw wrong(path, file, `it exports ${found}`)
  }
  const from = typeof exported === 'function' ? 'its function returned' : 'its default export is'
  const deaf = deafness(exported)
  if (typeof exported === 'function') {
    if (/^class\b/.test(Function.prototype.toString.call(exported))) {
      throw wrong(
        path,
        file,
        `it exports the class ${exported.name || '(nameless)'} itself: export an object made of it`,
      )
    }
    try {
      exported = await whileLoading(path, remark, async () =>
        (exported as (o: WorkerOptions) => unknown)(options),
      )
    } catch (cause) {
      throw failed(path, file, 'its function threw', cause)
    }
  } else {
    exported = await exported
  }
  const beside = { deaf, handlers: module.handlers }
  if (isWorker(exported)) return { ...beside, worker: exported, deferq: exported.deferq as AnyDeferQ }
  if (isDeferQ(exported)) return { ...beside, deferq: exported }
  throw wrong(path, file, `${from} ${describe(exported)}`)
}

/** Of a Worker: why the options don't reach it. */
function deafness(exported: unknown): string | undefined {
  if (typeof exported !== 'function') return 'exports a finished Worker, which keeps its own options'
  const takesNone = /^(async\s*)?(function\b[\s*]*[\w$]*\s*)?\(\s*\)/
  return takesNone.test(Function.prototype.toString.call(exported))
    ? 'exports a function that takes no options'
    : undefined
}

/**
 * Told by what they can do: a bootstrap may load a copy of the package of its own, whose classes are not these.
 * A task has `run` too, and a Worker-like thing of another library has no deferq.
 */
function isWorker(value: unknown): value is Worker {
  return has(value, 'run', 'stop', 'on') && isDeferQ((value as { deferq?: unknown }).deferq)
}

function isDeferQ(value: unknown): value is AnyDeferQ {
  return has(value, 'dispatch', 'open', 'close')
}

function has(value: unknown, ...methods: string[]): boolean {
  if (typeof value !== 'object' || value === null) return false
  return methods.every((method) => typeof (value as Record<string, unknown>)[method] === 'function')
}

function checkFile(path: string, file: string): void {
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat?.isFile()) return
  const found = stat === undefined ? 'there is no such file' : 'that is no file'
  throw wrong(path, file, `${found} (looked for ${file})`, '')
}

async function importModule(path: string, file: string): Promise<Record<string, unknown>> {
  try {
    if (/\.[cm]?tsx?$/.test(file)) await prepareTypeScript(file)
    return (await import(pathToFileURL(file).href)) as Record<string, unknown>
  } catch (cause) {
    if (isDeferqError(cause, 'MISSING_DEPENDENCY')) throw cause
    if (isSyntaxError(cause)) throw failed(path, file, 'it has a syntax error', locate(cause, file))
    throw failed(path, file, 'it could not be loaded', cause)
  }
}

/** Node's own type stripping needs nothing; before it, the optional tsx does, the user's copy rather than ours. */
async function prepareTypeScript(file: string): Promise<void> {
  if ((process.features as { typescript?: unknown }).typescript) return
  try {
    // Both, because in a package without "type": "module" a .ts file is CommonJS, however it is written.
    for (const hook of await Promise.all([loadTsx(file, 'cjs'), loadTsx(file, 'esm')])) hook.register()
  } catch (cause) {
    throw new DeferqError(
      'MISSING_DEPENDENCY',
      `${basename(file)} is TypeScript, which Node ${process.versions.node} can't read by itself, and tsx is not installed. ` +
        'Run `npm install tsx`, or use Node 22.18 or newer, or give a .js bootstrap.',
      { cause },
    )
  }
}

interface Hook {
  register(): unknown
}

async function loadTsx(file: string, kind: 'cjs' | 'esm'): Promise<Hook> {
  let path: string
  try {
    // What require() would be given looks for its parts in the wrong place; import() is given the module beside it.
    path = createRequire(file).resolve(`tsx/${kind}/api`)
    if (kind === 'esm') path = path.replace(/\.cjs$/, '.mjs')
  } catch {
    return kind === 'cjs' ? import('tsx/cjs/api') : import('tsx/esm/api')
  }
  const { default: commonJs, ...module } = (await import(pathToFileURL(path).href)) as Hook & {
    default?: Hook
  }
  return module.register === undefined && commonJs !== undefined ? commonJs : module
}

/** CommonJS that was compiled from a module keeps its default export one level deeper. */
function defaultOf(module: Record<string, unknown>): unknown {
  const exported = module.default
  const nested = exported as { __esModule?: unknown; default?: unknown } | undefined
  return typeof nested === 'object' && nested?.__esModule === true ? nested.default : exported
}

/** An await that never settles would hang, or end the process without a word: both are told. */
async function whileLoading<T>(
  path: string,
  remark: (message: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  const slow = environment
    .setTimeout(
      () =>
        remark(`${path} is still loading. Does it call run() by itself? It should only export the worker.`),
      SLOW_MS,
    )
    .unref()
  const ended = (): void => {
    remark(
      `INVALID_BOOTSTRAP: The bootstrap file ${path} never finished loading: an await in it never settles.`,
    )
    process.exitCode = 1
  }
  process.once('exit', ended)
  try {
    return await work()
  } finally {
    environment.clearTimeout(slow)
    process.off('exit', ended)
  }
}

/** A missing export is a SyntaxError too, but of the module that was asked for it; tsx has an error of its own. */
function isSyntaxError(error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  if (error instanceof SyntaxError) return !error.message.includes('does not provide an export')
  return error.name === 'TransformError'
}

/** The error of an import doesn't say where it is; checking the file once more does, if it is in this file. */
function locate(error: Error, file: string): Error {
  if (/\.[cm]?tsx?$/.test(file) || error.stack?.includes(basename(file))) return error
  const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 5_000 })
  const where = /^.*:\d+\n(?:.*\n)*?(?=\n)/.exec(stderr ?? '')?.[0]
  const said = `${error.name}: ${error.message}`
  error.stack =
    where === undefined ? `${said}\n    (in a file that ${basename(file)} imports)` : `${where}${said}`
  return error
}

export function wrong(path: string, file: string, found: string, expected = EXPECTED): DeferqError {
  return new DeferqError(
    'INVALID_BOOTSTRAP',
    `The bootstrap file ${path} can't be used: ${found}.${expected === '' ? '' : ` ${expected}.`}`,
    { details: { file, found, expected: EXPECTED } },
  )
}

function failed(path: string, file: string, what: string, cause: unknown): DeferqError {
  const { code, message } = (cause ?? {}) as { code?: unknown; message?: unknown }
  const why = typeof message === 'string' ? message : String(cause)
  return new DeferqError(
    'INVALID_BOOTSTRAP',
    `The bootstrap file ${path} can't be used: ${what}: ${why}${advice(code, why)}`,
    {
      cause,
      details: { file, found: what, expected: EXPECTED },
    },
  )
}

function advice(code: unknown, why: string): string {
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') {
    return (
      '\nNode only strips types. Avoid enums, namespaces and parameter properties in the bootstrap and what it imports, ' +
      "or run it through tsx: NODE_OPTIONS='--import tsx'."
    )
  }
  if (
    /^ERR_REQUIRE_(CYCLE_MODULE|ASYNC_MODULE|ESM)$/.test(String(code)) ||
    /Cannot use import statement|Unexpected token 'export'|"cjs" output format/.test(why)
  ) {
    return (
      '\nIt is taken for CommonJS, which it is not: write "type": "module" into the package.json beside it, ' +
      'or let its name end in .mts or .mjs.'
    )
  }
  if (code === 'ERR_MODULE_NOT_FOUND')
    return '\nIs the package installed where the bootstrap lies? A relative import needs its ending.'
  return ''
}

function describe(value: unknown): string {
  if (value === undefined) return 'undefined (is a return missing?)'
  if (value === null) return 'null'
  if (Array.isArray(value))
    return value.some(isTask) ? 'a list of tasks: give it to new DeferQ({ tasks })' : 'an array'
  if (isTask(value)) return `the task '${value.name}': give it to new DeferQ({ tasks: [it] })`
  if (typeof value !== 'object') return `a ${typeof value}`
  const maker = Object.getPrototypeOf(value)?.constructor?.name
  if (maker !== undefined && maker !== 'Object') return `an instance of ${maker}`
  const names = Object.keys(value)
  if (has(value, 'default') || names.includes('deferq') || names.includes('worker'))
    return `an object with ${names.join(', ')}: export one of them by itself`
  return names.length === 0 ? 'an empty object' : `an object with ${names.slice(0, 5).join(', ')}`
}

function isTask(value: unknown): value is { name: string } {
  if (typeof value !== 'object' || value === null) return false
  const { name, options } = value as { name?: unknown; options?: unknown }
  return typeof name === 'string' && typeof options === 'object' && 'run' in value
}
