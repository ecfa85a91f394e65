// The demo as a person runs it: what it prints, what its page and its app answer, and that nothing is left behind.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const LIMIT_MS = 60_000

const running = new Set<ChildProcess>()
afterEach(() => {
  for (const child of running) child.kill('SIGKILL')
})

describe('deferq demo --once', () => {
  it(
    'answers 100 requests by one run, and 100 more from the cache',
    async () => {
      const demo = start(['--once'])
      expect(await demo.ended).toBe(0)
      expect(demo.errors()).toBe('')
      const text = demo.text()
      expect(row(text, 'requests')).toEqual(['100', '100'])
      expect(row(text, 'runs')).toEqual(['1', '0'])
      expect(row(text, 'joined')).toEqual(['99', '0'])
      expect(row(text, 'hits')).toEqual(['0', '100'])
      expect(text).toMatch(/^ {2}receipts +1 created, 99 joined$/m)
      expect(text).toMatch(/^ {2}deferq\.stats\(\) .*\b1 completed\b/m)
      for (const time of ['first answer', 'answered, p50', 'all answered'])
        expect(row(text, time)).toEqual([
          expect.stringMatching(/^[\d.]+ m?s$/),
          expect.stringMatching(/^[\d.]+ m?s$/),
        ])
      expect(text).toContain('✓ one run answered all 200 requests')
      // Not a terminal: nothing is redrawn or coloured.
      expect(text).not.toMatch(/[\r\u001b]/)
      expectNothingLeft(text)
    },
    LIMIT_MS,
  )

  it(
    'says which port is in use, and ends with 1',
    async () => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      try {
        const { port } = server.address() as AddressInfo
        const demo = start(['--once', `--port=${port}`])
        expect(await demo.ended).toBe(1)
        expect(demo.errors()).toContain(`The port ${port} is in use.`)
        expect(demo.errors()).not.toMatch(/^ +at /m)
      } finally {
        server.close()
      }
    },
    LIMIT_MS,
  )

  it(
    'says what to install where there is no SQLite, and ends with 1',
    async () => {
      const demo = start(['--once'], ['--import', withoutSqlite()])
      expect(await demo.ended).toBe(1)
      expect(demo.errors()).toContain('npm install @photostructure/sqlite')
      expect(demo.errors()).not.toMatch(/^ +at /m)
    },
    LIMIT_MS,
  )
})

describe('deferq demo', () => {
  it(
    'serves its page and its app until Ctrl-C, and leaves nothing behind',
    async () => {
      const demo = start([])
      const url = await demo.page()

      const page = await fetch(url)
      expect(page.status).toBe(200)
      expect(page.headers.get('content-type')).toContain('text/html')
      const html = await page.text()
      expect(html).toContain('Ask 100 times')
      // Self-contained: nothing comes from elsewhere.
      expect(html).not.toMatch(/(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?\/\//i)

      const asked = await fetch(new URL('/reports', url), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ year: 2031, format: 'pdf' }),
      })
      const { taskId, outcome } = (await asked.json()) as { taskId: string; outcome: string }
      expect([asked.status, outcome]).toEqual([202, 'created'])
      expect(asked.headers.get('location')).toBe(`/tasks/${taskId}`)
      const joining = await fetch(new URL('/report?year=2031&format=pdf', url))
      expect([joining.status, await joining.json()]).toMatchObject([202, { taskId, outcome: 'joined' }])

      const seen: number[] = []
      const done = await eventually(async () => {
        const polled = await fetch(new URL(`/tasks/${taskId}`, url))
        const body = (await polled.json()) as { progress?: number; result?: { url: string } }
        seen.push(body.progress ?? 0)
        return polled.status === 200 ? body : undefined
      })
      expect(seen.some((progress) => progress > 0 && progress < 1)).toBe(true)
      const report = await fetch(new URL(done.result?.url ?? '', url))
      expect(report.headers.get('content-disposition')).toContain('report-2031.pdf')
      expect(await report.text()).toContain(taskId)

      const hit = await fetch(new URL('/report?year=2031&format=pdf', url))
      expect([hit.status, await hit.json()]).toMatchObject([
        200,
        { taskId, outcome: 'hit', result: done.result },
      ])
      const { runs, asked: totals } = (await (await fetch(new URL('/runs', url))).json()) as {
        runs: { taskId: string; outcomes: object }[]
        asked: object
      }
      expect(runs.find((run) => run.taskId === taskId)?.outcomes).toEqual({ created: 1, joined: 1, hit: 1 })
      expect(totals).toEqual({ requests: 203, created: 2, joined: 100, hit: 101 })

      const refused = await fetch(new URL('/report?year=2031&format=exe', url))
      expect([refused.status, await refused.json()]).toMatchObject([
        400,
        { error: { code: 'INVALID_PARAMS' } },
      ])

      demo.child.kill('SIGINT')
      expect(await demo.ended).toBe(0)
      expect(demo.errors()).toBe('')
      expectNothingLeft(demo.text())
    },
    LIMIT_MS,
  )

  it(
    'replaces a worker that was killed, and its run still ends',
    async () => {
      const demo = start([])
      const url = await demo.page()
      const asked = await fetch(new URL('/report?year=2032&format=csv', url))
      const { taskId } = (await asked.json()) as { taskId: string }
      const statusOf = async () =>
        (await (await fetch(new URL(`/tasks/${taskId}`, url))).json()) as { status: string; attempt: number }
      await eventually(async () => (await statusOf()).status === 'running' || undefined)
      process.kill(workerOf(demo.text()), 'SIGKILL')
      const done = await eventually(async () => {
        const now = await statusOf()
        return now.status === 'completed' ? now : undefined
      })
      expect(done.attempt).toBe(2)
      expect(demo.text()).toContain('has died (SIGKILL)')
      demo.child.kill('SIGTERM')
      expect(await demo.ended).toBe(0)
      expectNothingLeft(demo.text())
    },
    LIMIT_MS,
  )

  it(
    'leaves no worker and no files when it is killed itself',
    async () => {
      const demo = start([])
      await eventually(async () => demo.text().includes('requests at once') || undefined)
      demo.child.kill('SIGKILL')
      await demo.ended
      await eventually(async () => !isAlive(workerOf(demo.text())) || undefined)
      expectNothingLeft(demo.text())
    },
    LIMIT_MS,
  )
})

function start(args: string[], nodeArgs: string[] = []) {
  const child = spawn(
    process.execPath,
    ['--import', import.meta.resolve('tsx'), ...nodeArgs, 'bin/deferq.ts', 'demo', ...args],
    { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  running.add(child)
  let text = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    errors += part
  })
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('close', (code, signal) => {
      running.delete(child)
      resolve(code ?? signal)
    })
  })
  return {
    child,
    ended,
    text: () => text,
    errors: () => errors,
    /** The address that it tells people to open. */
    page: () =>
      eventually(async () => {
        if (child.exitCode !== null)
          throw new Error(`The demo ended with ${child.exitCode}:\n${text}\n${errors}`)
        return /Go on in the browser: (\S+)\n/.exec(text)?.[1]
      }),
  }
}

/** A module that takes both of Node's ways to SQLite away. */
function withoutSqlite(): string {
  const inline = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`
  const hook = inline(
    `export const resolve = (name, context, next) => {
      if (name.endsWith('photostructure/sqlite')) throw new Error('not installed')
      return next(name, context)
    }`,
  )
  return inline(
    `import { register } from 'node:module'
    const get = process.getBuiltinModule
    process.getBuiltinModule = (name) => name === 'node:sqlite' ? undefined : get(name)
    register(${JSON.stringify(hook)})`,
  )
}

/** The cells of a row of the table, behind its title. */
function row(text: string, title: string): string[] {
  const line = text.split('\n').find((each) => each.startsWith(`  ${title} `)) ?? ''
  return line
    .slice(title.length + 2)
    .trim()
    .split(/ {2,}/)
}

const workerOf = (text: string): number => Number(/^ {2}worker +process (\d+)$/m.exec(text)?.[1])

function expectNothingLeft(text: string): void {
  const folder = /^ {2}store +SQLite, (.+)$/m.exec(text)?.[1]
  expect(folder).toMatch(/deferq-demo-/)
  expect(existsSync(folder as string)).toBe(false)
  expect(workerOf(text)).toBeGreaterThan(0)
  expect(isAlive(workerOf(text))).toBe(false)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  try {
    // Dead, and not fetched by whoever adopted it (a container's first process may never do that).
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return process.platform !== 'linux'
  }
}

async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + 30_000
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (performance.now() > end) throw new Error('It has not come about within 30 seconds.')
    await pause(50)
  }
}
