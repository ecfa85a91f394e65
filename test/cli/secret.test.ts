// deferq generate-secret: what it writes, what it leaves as it was, byte for byte, and when it refuses.
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { parseEnv } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { confirmed, generate, newSecret } from '../../src/cli/commands/generate-secret.ts'
import { EnvFile, withValue } from '../../src/cli/env-file.ts'
import type { Ended } from './program.ts'
import { Installation } from './program.ts'

const NAME = 'DEFERQ_SECRET'
const VALUE = 'v'.repeat(64)
const set = (text: string): string => withValue(text, NAME, VALUE)

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'deferq-env-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

describe('the text of the file', () => {
  const cases: Record<string, [before: string, after: string]> = {
    'an empty file': ['', `${NAME}=${VALUE}\n`],
    'a file without it': ['A=1\nB=2\n', `A=1\nB=2\n${NAME}=${VALUE}\n`],
    'no final newline': ['A=1\nB=2', `A=1\nB=2\n${NAME}=${VALUE}`],
    'no newline at all': ['A=1', `A=1\n${NAME}=${VALUE}`],
    CRLF: ['A=1\r\nB=2\r\n', `A=1\r\nB=2\r\n${NAME}=${VALUE}\r\n`],
    'CRLF without a final one': ['A=1\r\nB=2', `A=1\r\nB=2\r\n${NAME}=${VALUE}`],
    'CRLF, replaced': [`A=1\r\n${NAME}=old\r\nB=2\r\n`, `A=1\r\n${NAME}=${VALUE}\r\nB=2\r\n`],
    replaced: [`A=1\n${NAME}=old\nB=2\n`, `A=1\n${NAME}=${VALUE}\nB=2\n`],
    'replaced at the end': [`A=1\n${NAME}=old`, `A=1\n${NAME}=${VALUE}`],
    export: [`export ${NAME}=old\n`, `export ${NAME}=${VALUE}\n`],
    spaces: [`  export\t${NAME} = old  \nB=1`, `  export\t${NAME} = ${VALUE}  \nB=1`],
    'double quotes': [`${NAME}="old" # why\n`, `${NAME}="${VALUE}" # why\n`],
    'single quotes': [`${NAME}='old'\n`, `${NAME}='${VALUE}'\n`],
    'escaped quotes': [`${NAME}="o\\"ld"\nB=1`, `${NAME}="${VALUE}"\nB=1`],
    backticks: [`${NAME}=\`old\`\n`, `${NAME}=\`${VALUE}\`\n`],
    'a comment behind it': [`${NAME}=old # keep this\n`, `${NAME}=${VALUE} # keep this\n`],
    'a hash within it': [`${NAME}=ol#d\n`, `${NAME}=${VALUE}\n`],
    'an empty value': [`${NAME}=\nB=1\n`, `${NAME}=${VALUE}\nB=1\n`],
    'an empty value and a comment': [`${NAME}=   # to be set\n`, `${NAME}=${VALUE}   # to be set\n`],
    'an empty value in quotes': [`${NAME}=""\n`, `${NAME}="${VALUE}"\n`],
    duplicates: [`${NAME}=a\nX=1\n${NAME}='b'\n`, `${NAME}=${VALUE}\nX=1\n${NAME}='${VALUE}'\n`],
    'several lines': [`${NAME}="a\nb\nc"\nB=1\n`, `${NAME}="${VALUE}"\nB=1\n`],
    'a quote without its end': [`${NAME}="old\nB=1\n`, `${NAME}=${VALUE}\nB=1\n`],
    'commented out': [`# ${NAME}=old\n#${NAME}=old\n`, `# ${NAME}=old\n#${NAME}=old\n${NAME}=${VALUE}\n`],
    'other names like it': [
      `X${NAME}=1\n${NAME}_OLD=2\n${NAME}.x=3\n`,
      `X${NAME}=1\n${NAME}_OLD=2\n${NAME}.x=3\n${NAME}=${VALUE}\n`,
    ],
    'within the value of another': [
      `A="first\n${NAME}=not me\nlast"\nB=2\n`,
      `A="first\n${NAME}=not me\nlast"\nB=2\n${NAME}=${VALUE}\n`,
    ],
    'an apostrophe in a comment': [`# don't\nA=it's\n${NAME}=old\n`, `# don't\nA=it's\n${NAME}=${VALUE}\n`],
    'a byte order mark': [`\u00ef\u00bb\u00bf${NAME}=old\n`, `\u00ef\u00bb\u00bf${NAME}=${VALUE}\n`],
    'a byte order mark alone': ['\u00ef\u00bb\u00bf', `\u00ef\u00bb\u00bf${NAME}=${VALUE}\n`],
  }
  for (const [title, [before, after]] of Object.entries(cases)) {
    test(title, () => expect(set(before)).toBe(after))
  }

  test('any text: node reads the new value, and every other variable as before; a second time changes nothing else', () => {
    const line = fc.oneof(
      fc.constantFrom(
        `${NAME}=old`,
        `export ${NAME}="old"`,
        `${NAME}='old' # note`,
        `${NAME}=`,
        '',
        '# note',
      ),
      fc
        .tuple(fc.constantFrom('A', 'B', 'LONG_NAME'), fc.stringMatching(/^[\w ./:-]{0,12}$/))
        .map(([name, value]) => `${name}=${value}`),
      fc
        .tuple(fc.constantFrom('A', 'C'), fc.stringMatching(/^[\w #=\n-]{0,12}$/))
        .map(([name, value]) => `${name}="${value}"`),
    )
    const text = fc.tuple(fc.array(line, { maxLength: 8 }), fc.constantFrom('\n', '\r\n'), fc.boolean())
    fc.assert(
      fc.property(text, ([lines, lineBreak, final]) => {
        const before = lines.join(lineBreak) + (final ? lineBreak : '')
        const after = set(before)
        const { [NAME]: value, ...others } = parseEnv(after)
        const { [NAME]: _, ...othersBefore } = parseEnv(before)
        expect(value).toBe(VALUE)
        expect(others).toEqual(othersBefore)
        expect(set(after)).toBe(after)
        const marked = withValue(before, NAME, 'M')
        expect(after.replaceAll(VALUE, 'M')).toBe(marked)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('the file', () => {
  test('bytes that are no UTF-8 stay, and so does the mode; nothing is left beside it', async () => {
    const path = join(folder(), '.env')
    const bytes = Buffer.from([0x41, 0x3d, 0xff, 0xfe, 0x80, 0x0a, 0x23, 0xc3, 0x28, 0x0a])
    writeFileSync(path, bytes)
    chmodSync(path, 0o640)
    await (await EnvFile.read(path)).set(NAME, VALUE)
    expect(readFileSync(path)).toEqual(Buffer.concat([bytes, Buffer.from(`${NAME}=${VALUE}\n`)]))
    expect(statSync(path).mode & 0o777).toBe(0o640)
    expect(readdirSync(join(path, '..'))).toEqual(['.env'])
  })

  test('what a link leads to is written, and the link stays one', async () => {
    const home = folder()
    writeFileSync(join(home, 'real.env'), 'A=1\n')
    symlinkSync('real.env', join(home, '.env'))
    await (await EnvFile.read(join(home, '.env'))).set(NAME, VALUE)
    expect(lstatSync(join(home, '.env')).isSymbolicLink()).toBe(true)
    expect(readFileSync(join(home, 'real.env'), 'utf8')).toBe(`A=1\n${NAME}=${VALUE}\n`)
    expect(readdirSync(home).sort()).toEqual(['.env', 'real.env'])
  })

  test('what somebody else has written meanwhile is not lost', async () => {
    const path = join(folder(), '.env')
    writeFileSync(path, 'A=1\n')
    const file = await EnvFile.read(path)
    writeFileSync(path, 'A=2\n')
    await expect(file.set(NAME, VALUE)).rejects.toThrow(/changed it in the meantime/)
    expect(readFileSync(path, 'utf8')).toBe('A=2\n')
    expect(readdirSync(join(path, '..'))).toEqual(['.env'])
  })
})

describe('the question', () => {
  const nobody = { production: false, confirm: undefined }
  async function withFile(text: string): Promise<string> {
    const path = join(folder(), '.env')
    writeFileSync(path, text)
    return path
  }

  test('replaces after a yes, and leaves all as it was after anything else', async () => {
    const path = await withFile(`${NAME}=old\n`)
    const asked: string[] = []
    const saying = (answer: boolean) => ({
      production: false,
      confirm: async (question: string) => {
        asked.push(question)
        return answer
      },
    })
    expect(await generate({ 'env-file': path }, saying(false))).toMatchObject({
      code: 1,
      document: { written: false },
    })
    expect(readFileSync(path, 'utf8')).toBe(`${NAME}=old\n`)
    expect(await generate({ 'env-file': path }, saying(true))).toMatchObject({
      document: { written: true, replaced: true },
    })
    expect(readFileSync(path, 'utf8')).toMatch(/^DEFERQ_SECRET=[\w-]{64}\n$/)
    expect(asked).toHaveLength(2)
    expect(asked[0]).toMatch(/has a DEFERQ_SECRET already.*Replace it\?/)
  })

  test('is not asked where there is none, or an empty one', async () => {
    for (const text of ['', 'A=1\n', `${NAME}=\n`, `${NAME}=""\n`])
      expect(await generate({ 'env-file': await withFile(text) }, nobody)).toMatchObject({
        document: { written: true },
      })
  })

  test('takes yes for yes, and the end of the input for no', async () => {
    for (const [typed, answer] of [
      ['y\n', true],
      ['YES\n', true],
      ['n\n', false],
      ['\n', false],
      ['yep\n', false],
      [undefined, false],
    ] as const) {
      const input = new PassThrough()
      input.end(typed)
      expect(await confirmed('Replace it? ', input, new PassThrough()), String(typed)).toBe(answer)
    }
  })

  test('secrets have the length asked for, in an alphabet without quotes, and differ', () => {
    for (let length = 32; length <= 128; length++)
      expect(newSecret(length)).toMatch(new RegExp(`^[\\w-]{${length}}$`))
    expect(new Set(Array.from({ length: 1_000 }, () => newSecret(32))).size).toBe(1_000)
  })
})

describe('the command', () => {
  let installed: Installation
  beforeAll(() => {
    installed = new Installation()
  })
  afterAll(() => installed.remove())
  const run = (args: string[], cwd: string, env: Record<string, string> = {}): Promise<Ended> =>
    installed.run('deferq', ['generate-secret', ...args], { cwd, env })

  test('adds, keeps, refuses to replace without being told, and replaces', async () => {
    const cwd = installed.empty()
    const path = join(cwd, '.env')
    writeFileSync(path, 'A=1')
    const added = await run([], cwd)
    expect(added).toMatchObject({ code: 0, stdout: 'DEFERQ_SECRET added in .env\n', stderr: '' })
    const first = readFileSync(path, 'utf8')
    expect(first).toMatch(/^A=1\nDEFERQ_SECRET=[\w-]{64}$/)

    expect(await run(['--no-replace'], cwd)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('it is kept'),
    })
    const refused = await run([], cwd)
    expect(refused).toMatchObject({ code: 2, stdout: '' })
    expect(refused.stderr).toMatch(/already: --yes replaces it, --no-replace keeps it/)
    expect((await run(['--yes', '--no-replace'], cwd)).code).toBe(2)
    expect(readFileSync(path, 'utf8')).toBe(first)

    const replaced = await run(['--yes', '--length=128', '--json'], cwd)
    expect(JSON.parse(replaced.stdout)).toEqual({
      file: expect.stringMatching(/\.env$/),
      written: true,
      replaced: true,
    })
    const second = readFileSync(path, 'utf8')
    expect(second).toMatch(/^A=1\nDEFERQ_SECRET=[\w-]{128}$/)
    for (const { stdout, stderr } of [added, refused, replaced]) {
      for (const text of [first, second]) expect(stdout + stderr).not.toContain(text.slice(18))
    }
  })

  test('fails without the file, refuses in production and other lengths, and shows one anywhere', async () => {
    const cwd = installed.empty()
    const missing = await run([], cwd)
    expect(missing.code).toBe(2)
    expect(missing.stderr).toMatch(/There is no file \.env \(looked for .*\.env\)/)
    expect(readdirSync(cwd)).toEqual([])

    writeFileSync(join(cwd, 'other.env'), '')
    const production = await run(['--env-file=other.env', '--yes'], cwd, { NODE_ENV: 'production' })
    expect(production.code).toBe(2)
    expect(production.stderr).toMatch(/NODE_ENV is production/)
    expect(readFileSync(join(cwd, 'other.env'), 'utf8')).toBe('')

    for (const length of ['31', '129', 'x', '64.5'])
      expect((await run([`--length=${length}`], cwd)).code).toBe(2)
    const shown = await run(['--show', '--length=32'], cwd, { NODE_ENV: 'production' })
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringMatching(/^[\w-]{32}\n$/), stderr: '' })
    expect(readdirSync(cwd)).toEqual(['other.env'])
    const other = installed.empty()
    mkdirSync(join(other, '.env'))
    expect((await run([], other)).stderr).toMatch(/\.env could not be read: it is no regular file/)
  })
})
