// The task of the demo: a report that takes two seconds, says how far it is, and leaves a file behind.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { environment } from '../base/environment.ts'
import { sleep } from '../base/time.ts'
import { DeferQ, DeferqError, task } from '../index.ts'

export const FORMATS = ['xlsx', 'pdf', 'csv'] as const
export const YEARS = { first: 2000, last: 2099 }

export interface Wanted {
  year: number
  format: (typeof FORMATS)[number]
}

export interface Made {
  /** Where the app serves it. */
  url: string
  rows: number
  /** The process that made it. */
  worker: number
}

const ROWS = 15_000
const STEPS = 20
const STEP_MS = 100

/** One definition for both sides: the app types its dispatches from it, the worker runs it. */
export const reportTask = (folder: string) =>
  task('report.generate', {
    resultTtl: '1h',
    run: async ({ year, format }: Wanted, context): Promise<Made> => {
      for (let step = 1; step <= STEPS; step++) {
        await sleep(STEP_MS, context.signal)
        context.signal.throwIfAborted()
        context.progress(step / STEPS)
        // Somebody watches: once a second, as progress travels by itself, would look like standing still.
        await context.touch()
      }
      const name = `report-${year}.${format}`
      await mkdir(reportsIn(folder), { recursive: true })
      await writeFile(join(reportsIn(folder), name), textOf(name, year, context.id))
      return { url: `/reports/${name}`, rows: ROWS, worker: process.pid }
    },
  })

/** A deferq on the demo's own database, for the app and for the worker. */
export const openDemo = (folder: string) =>
  new DeferQ({
    // Encoded, because a folder's name may hold what means something in a URL.
    url: `sqlite:${encodeURIComponent(join(folder, 'deferq.db'))}`,
    tasks: [reportTask(folder)],
  })

export type Demo = ReturnType<typeof openDemo>

export const reportsIn = (folder: string): string => join(folder, 'reports')

/** What a request asks for; refuses anything else in words that can be shown. */
export function wantedOf(year: unknown, format: unknown): Wanted {
  const { first, last } = YEARS
  const number = typeof year === 'string' && /^\d{4}$/.test(year) ? Number(year) : year
  if (typeof number !== 'number' || !Number.isInteger(number) || number < first || number > last)
    throw new DeferqError('INVALID_PARAMS', `The year must be a whole number from ${first} to ${last}.`)
  const known = FORMATS.find((each) => each === format)
  if (known === undefined)
    throw new DeferqError('INVALID_PARAMS', `The format must be one of ${FORMATS.join(', ')}.`)
  return { year: number, format: known }
}

function textOf(name: string, year: number, id: string): string {
  const months = Array.from({ length: 12 }, (_, month) => {
    // Made up, and the same for the same year.
    const orders = 1_000 + ((year * 37 + month * 811) % 500)
    return `${year}-${String(month + 1).padStart(2, '0')}  ${orders} orders`
  })
  return [
    `This stands for ${name}: the demo makes no real ${name.split('.')[1]} files, and its figures are invented.`,
    `Made at ${new Date(environment.now()).toISOString()} by the worker process ${process.pid}, in the run ${id}.`,
    '',
    ...months,
    '',
  ].join('\n')
}
