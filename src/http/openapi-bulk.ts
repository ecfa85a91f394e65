// The routes for programs in the words of OpenAPI: many items to a request, and runs as records.

import { content, id, problem, ref, text } from './openapi-parts.ts'

const ids = { type: 'array', maxItems: 1_000, items: id }
const body = (properties: object, required: readonly string[]): object => ({
  required: true,
  content: content({ type: 'object', required, additionalProperties: false, properties }),
})
const answer = (description: string, properties: object, required: readonly string[]): object => ({
  200: { description, content: content({ type: 'object', required, properties }) },
})
const list = (items: object): object => ({ type: 'array', items })
const query = (name: string, schema: object): object => ({ name, in: 'query', schema })

const LINE_UP = 'The answers, in the order of the items.'

export const PATHS_FOR_PROGRAMS = {
  '/dispatches': {
    post: {
      operationId: 'dispatchTasks',
      summary: 'Asks for many tasks. All items are checked before the first is admitted.',
      description:
        'A refused item refuses the request: none is admitted, and `index` of the problem says which item it was. ' +
        'With `independent` the other items are admitted. A request may be sent again with the same items: `run` marks what it has made.',
      requestBody: body(
        {
          items: { type: 'array', maxItems: 1_000, items: ref('Item') },
          independent: { type: 'boolean', description: 'A refused item refuses itself alone (false).' },
          check: { type: 'boolean', description: 'Check the items, and admit none (false).' },
        },
        ['items'],
      ),
      responses: {
        ...answer(LINE_UP, { answers: list(ref('Answer')) }, ['answers']),
        ...problem(400, 401, 413, 415, 422, 503),
      },
    },
  },
  '/retries': {
    post: {
      operationId: 'retryTasks',
      summary: 'Dispatches failed or cancelled runs again, with the params and options that they had.',
      requestBody: body(
        {
          items: {
            type: 'array',
            maxItems: 1_000,
            items: {
              type: 'object',
              required: ['id', 'run'],
              additionalProperties: false,
              properties: { id, run: ref('RunPart') },
            },
          },
        },
        ['items'],
      ),
      responses: {
        ...answer(LINE_UP, { answers: list(ref('Answer')) }, ['answers']),
        ...problem(400, 401, 404, 413, 415, 422, 503),
      },
    },
  },
  '/runs': {
    get: {
      operationId: 'listRuns',
      summary: 'Runs that match, a page at a time. A page may be empty and have a cursor.',
      parameters: [
        query('status', { enum: ['pending', 'running', 'completed', 'failed', 'cancelled'] }),
        query('name', text),
        query('queue', text),
        query('limit', { type: 'integer', minimum: 1, maximum: 1_000, default: 100 }),
        query('cursor', { type: 'string', description: 'The cursor of the page before.' }),
      ],
      responses: {
        ...answer('A page.', { runs: list(ref('Run')), cursor: text }, ['runs']),
        ...problem(401, 422, 503),
      },
    },
  },
  '/reads': {
    post: {
      operationId: 'readRuns',
      summary:
        'Runs by their ids, or by a key: the first 64 characters of an id read the run that stands there.',
      requestBody: body(
        {
          ids: {
            type: 'array',
            maxItems: 1_000,
            items: { type: 'string', pattern: '^[0-9a-f]{64}([0-9a-f]{24})?$' },
          },
        },
        ['ids'],
      ),
      responses: {
        ...answer(
          'The runs, in the order of the ids; null for an unknown one.',
          { runs: list({ anyOf: [ref('Run'), { type: 'null' }] }) },
          ['runs'],
        ),
        ...problem(400, 401, 404, 413, 415, 422, 503),
      },
    },
  },
  '/waits': {
    post: {
      operationId: 'waitForRuns',
      summary: 'Answers once one of the runs has ended, after 25 seconds at the latest.',
      requestBody: body({ ids }, ['ids']),
      responses: {
        ...answer(
          'The runs that have ended; none when the time was over first.',
          {
            ended: list({
              type: 'object',
              required: ['id'],
              properties: { id, run: { ...ref('Run'), description: 'Left out where no run has the id.' } },
            }),
          },
          ['ended'],
        ),
        ...problem(400, 401, 404, 413, 415, 422, 503),
      },
    },
  },
  '/cancellations': {
    post: {
      operationId: 'cancelRuns',
      summary: 'Ends runs for everybody who waits for them.',
      requestBody: body({ ids, reason: { type: 'string', description: 'Kept with each run.' } }, ['ids']),
      responses: {
        ...answer(LINE_UP, { answers: list({ enum: ['cancelled', 'ended', 'unknown'] }) }, ['answers']),
        ...problem(400, 401, 404, 413, 415, 422, 503),
      },
    },
  },
  '/promotions': {
    post: {
      operationId: 'promoteRuns',
      summary: 'Makes pending runs due at once, and raises their priority.',
      requestBody: body({ ids, priority: { type: 'integer', minimum: -100, maximum: 100 } }, ['ids']),
      responses: {
        ...answer(LINE_UP, { answers: list({ enum: ['due', 'running', 'ended', 'unknown'] }) }, ['answers']),
        ...problem(400, 401, 404, 413, 415, 422, 503),
      },
    },
  },
  '/stats': {
    get: {
      operationId: 'countRuns',
      summary: 'The runs that wait and run, by queue and name, and totals since the store began.',
      responses: {
        ...answer(
          'The counts.',
          {
            lanes: list({
              type: 'object',
              required: ['queue', 'name', 'pending', 'running'],
              properties: {
                queue: text,
                name: text,
                pending: { type: 'integer' },
                running: { type: 'integer' },
              },
            }),
            paused: list({ type: 'object', properties: { queue: text, name: text } }),
            totals: { type: 'object', additionalProperties: { type: 'integer' } },
          },
          ['lanes', 'paused', 'totals'],
        ),
        ...problem(401, 503),
      },
    },
  },
}
