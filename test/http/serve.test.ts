// deferq serve as a process, a worker as another, on one SQLite store; asked by curl with openssl, and by the client.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DeferQ } from '../../src/index.ts'
import type { Running } from '../cli/program.ts'
import { Installation } from '../cli/program.ts'

const SECRET = '0123456789abcdef0123456789abcdef0123'
const run = promisify(execFile)

// What the README shows, with the address and the secret from outside.
const SCRIPT = `
set -eu
body='{"name":"report.generate","params":{"year":2024}}'
id=$(openssl rand -hex 16)
now=$(date +%s)
signature=$(printf 'v1r\\nPOST\\n/deferq/tasks\\n%s\\n%s\\n\\n%s' "$id" "$now" "$body" |
  openssl dgst -sha256 -hmac "$DEFERQ_SECRET" -binary | base64)
curl -sS "$HOST/deferq/tasks" -d "$body" -H 'content-type: application/json' -H 'prefer: wait=10' \\
  -H "webhook-id: $id" -H "webhook-timestamp: $now" -H "webhook-signature: v1r,$signature"
`

let place: Installation
let store: string
beforeAll(() => {
  place = new Installation()
  store = `sqlite:${place.empty()}/deferq.db`
  place.write(
    'worker.js',
    `import { DeferQ, task, Worker } from 'deferq'
const report = task('report.generate', { run: async ({ year }) => ({ year, by: process.pid }) })
export default new Worker(new DeferQ({ url: process.env.STORE, tasks: [report] }))
`,
  )
})
afterAll(() => place.remove())

const serving = async (
  args: string[],
  env: Record<string, string> = { DEFERQ_SECRET: SECRET },
): Promise<[Running, string]> => {
  const server = place.start('deferq', ['serve', '--port=0', `--url=${store}`, ...args], { env })
  let said = ''
  server.child.stdout?.on('data', (text) => {
    said += text
  })
  await server.until(/at http:\/\/\S+\n/)
  return [server, (/http:\/\/\S+/.exec(said) as RegExpExecArray)[0]]
}

describe('deferq serve', () => {
  test('one process dispatches, another works, and a third asks with curl and openssl', {
    timeout: 60_000,
  }, async () => {
    const [server, url] = await serving(['--allow=report.generate'])
    const worker = place.start('deferq-worker', ['--bootstrap=worker.js'], { env: { STORE: store } })
    const env = { PATH: process.env.PATH ?? '', HOST: url, DEFERQ_SECRET: SECRET }
    const { stdout } = await run('sh', ['-c', SCRIPT], { env, timeout: 20_000 })
    const made = JSON.parse(stdout)
    expect(made).toMatchObject({ status: 'completed', result: { year: 2024, by: worker.child.pid } })
    const client = new DeferQ({ url: `${url}/anything`, secret: SECRET })
    expect(await client.run('report.generate', { year: 2024 })).toEqual(made.result)
    expect(await client.run('report.generate', { year: 2025 })).toMatchObject({ year: 2025 })
    await client.close()
    const listed = await place.run('deferq', ['status', made.taskId, `--url=${url}`, '--json'], {
      env: { DEFERQ_SECRET: SECRET },
    })
    expect(JSON.parse(listed.stdout)).toMatchObject({ status: 'completed' })
    const denied = await place.run('deferq', ['status', made.taskId, `--url=${url}`], { env: {} })
    expect(denied).toMatchObject({ code: 1, stderr: expect.stringContaining('INVALID_SIGNATURE') })
    worker.kill('SIGTERM')
    server.kill('SIGTERM')
    expect((await server.ended).code).toBe(0)
    expect((await server.ended).stderr).not.toContain(SECRET)
    await worker.ended
  })

  test('says what is missing', { timeout: 30_000 }, async () => {
    for (const [args, env, said] of [
      [['--allow=a'], {}, /There is no secret in DEFERQ_SECRET/],
      [['--allow=a', '--secret-env=OLD,NEW'], { OLD: SECRET }, /There is no secret in NEW/],
      [[], { DEFERQ_SECRET: SECRET }, /--allow/],
      [['--alias=x'], { DEFERQ_SECRET: SECRET }, /--alias=report=report.generate/],
      [['--local-only', '--secret-env=A', '--allow=a'], {}, /--local-only/],
    ] as const) {
      const { code, stderr } = await place.run('deferq', ['serve', '--port=0', ...args], { env })
      expect([code, stderr]).toEqual([2, expect.stringMatching(said)])
    }
    const short = await place.run('deferq', ['serve', '--allow=a', '--url=memory:'], {
      env: { DEFERQ_SECRET: 'short-one' },
    })
    expect([short.code, short.stderr]).toEqual([1, expect.stringMatching(/too short/)])
    expect(short.stderr).not.toContain('short-one')
  })
})
