// The command that makes a secret for signatures and keeps it in an environment file: deferq generate-secret.

import { resolve } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { environment } from '../../base/environment.ts'
import type { Answer } from '../command.ts'
import { command } from '../command.ts'
import { EnvFile } from '../env-file.ts'
import { usage } from '../flags.ts'

const VARIABLE = 'DEFERQ_SECRET'
const LENGTH = { usual: 64, least: 32, most: 128 }

export interface Wanted {
  length?: number
  show?: boolean
  'no-replace'?: boolean
  yes?: boolean
  'env-file'?: string
}

export interface Surroundings {
  production: boolean
  /** Asks a person; undefined where there is none. */
  confirm: ((question: string) => Promise<boolean>) | undefined
}

const generateSecret = command({
  name: 'generate-secret',
  takes: '',
  about: 'make a secret for signatures, and keep it in .env',
  more:
    `Sets ${VARIABLE} in the file, in place of the one that is there or as a new line; all else in it stays as it is.\n` +
    'It asks before it replaces a secret, and does not write at all where NODE_ENV is production.',
  flags: {
    length: {
      kind: 'whole',
      value: 'count',
      least: LENGTH.least,
      most: LENGTH.most,
      about: `how many characters, ${LENGTH.least} to ${LENGTH.most} (${LENGTH.usual})`,
    },
    show: { kind: 'switch', about: 'print it, and write nothing' },
    'no-replace': { kind: 'switch', about: 'keep the one that is there' },
    yes: { kind: 'switch', short: 'y', about: 'replace the one that is there, without asking' },
    'env-file': { kind: 'text', value: 'file', about: 'the file to keep it in (.env)' },
  },
  async run({ values }): Promise<Answer> {
    const { json } = values as { json?: boolean }
    const asking = process.stdin.isTTY === true && process.stderr.isTTY === true && !json
    return generate(values, {
      production: process.env.NODE_ENV === 'production',
      confirm: asking ? (question) => confirmed(question, process.stdin, process.stderr) : undefined,
    })
  },
})

export const SECRET = [generateSecret]

export async function generate(wanted: Wanted, { production, confirm }: Surroundings): Promise<Answer> {
  const { length = LENGTH.usual, show, 'no-replace': keep, yes, 'env-file': path = '.env' } = wanted
  const secret = newSecret(length)
  if (show) return { document: { secret }, text: secret }
  if (keep && yes) throw usage('--no-replace keeps the secret and --yes replaces it: give one of them.')
  if (production) {
    throw usage(
      'NODE_ENV is production: a new secret there would refuse all that is signed with the old one. ' +
        `Set ${VARIABLE} where the other settings of production are; --show prints a new one.`,
    )
  }
  const file = await found(path)
  const replaced = file.has(VARIABLE)
  if (replaced && keep) {
    return {
      document: { file: file.path, written: false, replaced: false },
      text: `${path} has a ${VARIABLE} already; it is kept.`,
    }
  }
  if (replaced && !yes) {
    if (confirm === undefined)
      throw usage(`${path} has a ${VARIABLE} already: --yes replaces it, --no-replace keeps it.`)
    const question = `${path} has a ${VARIABLE} already. What is signed with it will be refused. Replace it? (y/N) `
    if (!(await confirm(question))) {
      return {
        document: { file: file.path, written: false, replaced: false },
        text: 'Nothing was changed.',
        code: 1,
      }
    }
  }
  try {
    await file.set(VARIABLE, secret)
  } catch (cause) {
    throw usage(`${path} could not be written: ${(cause as Error).message}.`)
  }
  return {
    document: { file: file.path, written: true, replaced },
    text: `${VARIABLE} ${replaced ? 'replaced' : 'added'} in ${path}`,
  }
}

/** Of letters, digits, - and _, which no shell and no file wants quotes for; each holds six random bits. */
export function newSecret(length: number): string {
  return environment
    .randomBytes(Math.ceil((length * 3) / 4))
    .toString('base64url')
    .slice(0, length)
}

async function found(path: string): Promise<EnvFile> {
  try {
    return await EnvFile.read(path)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw usage(
      code === 'ENOENT'
        ? `There is no file ${path} (looked for ${resolve(path)}). Make it first, name another with --env-file=, or print a secret with --show.`
        : `${path} could not be read: ${message}.`,
    )
  }
}

export async function confirmed(
  question: string,
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
): Promise<boolean> {
  const asking = createInterface({ input, output })
  try {
    // What ends the input has said nothing.
    const silence = new Promise<string>((resolve) => asking.once('close', () => resolve('')))
    const answer = await Promise.race([asking.question(question), silence])
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    asking.close()
  }
}
