// The interface in the words of OpenAPI 3.1, served beside it.

const ref = (name: string): object => ({ $ref: `#/components/schemas/${name}` })
const content = (schema: object, type = 'application/json'): object => ({ [type]: { schema } })
const parameter = (name: string): object => ({ $ref: `#/components/parameters/${name}` })
const problem = (...statuses: number[]): object =>
  Object.fromEntries(
    statuses.map((status) => [status, { $ref: `#/components/responses/${PROBLEMS[status] as string}` }]),
  )

const PROBLEMS: Record<number, string> = {
  400: 'Malformed',
  401: 'Unsigned',
  404: 'NotHere',
  410: 'Gone',
  413: 'TooLarge',
  415: 'NotJson',
  422: 'Refused',
  503: 'Unavailable',
}
const MEANING: Record<string, string> = {
  Malformed: 'The body is no JSON object in UTF-8.',
  Unsigned: 'The signature is missing, malformed, late, wrong or spent; `reason` says which.',
  NotHere: 'There is nothing at this path.',
  Gone: 'No run has this id: it never was, or its retention is over.',
  TooLarge: 'The body, or the params in it, are over the limit.',
  NotJson: 'The body is not JSON as it is.',
  Refused: 'A name that is not offered, params that its schema refuses, an option that is malformed.',
  Unavailable: 'The store is away; try again after a moment.',
}
const text = { type: 'string' }
const time = { type: 'string', format: 'date-time' }
const id = { type: 'string', pattern: '^[0-9a-f]{88}$' }
const duration = {
  description: "Milliseconds, or text with a unit: '90s', '5m', '1h'.",
  oneOf: [
    { type: 'number', minimum: 0 },
    { type: 'string', pattern: '^\\s*\\d+(\\.\\d+)?\\s*(ms|s|m|h|d|w)\\s*$' },
  ],
}
const header = (description: string): object => ({ description, schema: text })

const DOCUMENT = {
  openapi: '3.1.0',
  info: {
    title: 'deferq',
    version: '1',
    description:
      'Work that is run once and answers everybody who asks for it. Paths are below the one where the interface is mounted. ' +
      'Each request is signed with HMAC-SHA256 over these lines, each followed by a line feed: v1r, the method, the path with its query, ' +
      'webhook-id, webhook-timestamp, Idempotency-Key (an empty line without one); and then the body. The signature goes out in base64 as ' +
      '`webhook-signature: v1r,…`. An id is good for one request, a timestamp for five minutes.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '.' }],
  security: [{ id: [], timestamp: [], signature: [] }],
  paths: {
    '/tasks': {
      post: {
        operationId: 'dispatchTask',
        summary: 'Asks for a task: it is run unless its result is there or on its way.',
        parameters: [parameter('Prefer'), parameter('IdempotencyKey')],
        requestBody: { required: true, content: content(ref('Ask')) },
        responses: {
          200: {
            description: 'It has ended: `status` says how.',
            headers: {
              Location: header('Where its state can be read.'),
              'Cache-Status': header('RFC 9211: hit, stale (a ttl below 0), collapsed or miss.'),
              'Preference-Applied': header('The wait that was granted.'),
            },
            content: content(ref('Task')),
          },
          202: {
            description: 'It is to be run, or runs.',
            headers: {
              Location: header('Where its state can be read.'),
              'Retry-After': header('Seconds.'),
              'Cache-Status': header('RFC 9211.'),
              'Preference-Applied': header('The wait that was granted.'),
            },
            content: content(ref('Task')),
          },
          ...problem(400, 401, 413, 415, 422, 503),
        },
      },
    },
    '/tasks/{id}': {
      parameters: [parameter('Id')],
      get: {
        operationId: 'getTask',
        summary: 'Where a run stands; with Prefer: wait, once it has ended.',
        parameters: [
          parameter('Prefer'),
          { name: 'If-None-Match', in: 'header', schema: text, description: 'The ETag that is known.' },
        ],
        responses: {
          200: {
            description: 'Its state.',
            headers: {
              ETag: header('Of this state.'),
              'Retry-After': header('Seconds; while it has not ended.'),
            },
            content: content(ref('Task')),
          },
          304: { description: 'It is as it was.' },
          ...problem(401, 404, 410, 503),
        },
      },
      delete: {
        operationId: 'cancelTask',
        summary: 'Ends a run for everybody who waits for it.',
        parameters: [{ name: 'reason', in: 'query', schema: { type: 'string', maxLength: 1_000 } }],
        responses: {
          200: {
            description: 'Cancelled, or it had ended by itself.',
            content: content({
              type: 'object',
              required: ['taskId', 'answer'],
              properties: { taskId: id, answer: { enum: ['cancelled', 'ended'] } },
            }),
          },
          ...problem(401, 404, 410, 503),
        },
      },
    },
    '/tasks/{id}/events': {
      parameters: [parameter('Id')],
      get: {
        operationId: 'followTask',
        summary: 'Its status and progress as server-sent events, until it has ended.',
        parameters: [{ name: 'Last-Event-ID', in: 'header', schema: text }],
        responses: {
          200: {
            description: 'Events `status` and `progress`, each with the task as its data.',
            content: content(text, 'text/event-stream'),
          },
          204: { description: 'It has ended, and the end is known by its Last-Event-ID.' },
          ...problem(401, 404, 410, 503),
        },
      },
    },
    '/batches': {
      post: {
        operationId: 'dispatchBatch',
        summary: 'Asks for many tasks under one id.',
        requestBody: { required: true, content: content(ref('BatchAsk')) },
        responses: {
          200: { description: 'All have ended.', content: content(ref('Batch')) },
          202: {
            description: 'Some are to be run.',
            headers: { Location: header('Where its state can be read.'), 'Retry-After': header('Seconds.') },
            content: content(ref('Batch')),
          },
          ...problem(400, 401, 413, 415, 422, 503),
        },
      },
    },
    '/batches/{id}': {
      parameters: [parameter('Id')],
      get: {
        operationId: 'getBatch',
        summary: 'How many of its tasks have ended, and how.',
        responses: {
          200: { description: 'Its state.', content: content(ref('Batch')) },
          304: { description: 'It is as it was.' },
          ...problem(401, 404, 410, 503),
        },
      },
      delete: {
        operationId: 'cancelBatch',
        summary: 'Cancels it, and what it has created.',
        responses: {
          200: { description: 'Its state.', content: content(ref('Batch')) },
          ...problem(401, 404, 410, 503),
        },
      },
    },
    '/invalidations': {
      post: {
        operationId: 'forgetResults',
        summary: 'Forgets the result of a run, of some params, or of a name.',
        requestBody: { required: true, content: content(ref('Invalidation')) },
        responses: {
          200: {
            description: 'How many keys have changed.',
            content: content({
              type: 'object',
              required: ['invalidated'],
              properties: { invalidated: { type: 'integer', minimum: 0 } },
            }),
          },
          ...problem(400, 401, 404, 413, 415, 422, 503),
        },
      },
    },
    '/openapi.json': {
      get: {
        operationId: 'describe',
        summary: 'This document.',
        security: [],
        responses: { 200: { description: 'This document.', content: content({ type: 'object' }) } },
      },
    },
  },
  components: {
    securitySchemes: {
      id: { type: 'apiKey', in: 'header', name: 'webhook-id', description: 'Its own for each request.' },
      timestamp: {
        type: 'apiKey',
        in: 'header',
        name: 'webhook-timestamp',
        description: 'Whole seconds since 1970.',
      },
      signature: {
        type: 'apiKey',
        in: 'header',
        name: 'webhook-signature',
        description: 'v1r, a comma, and base64.',
      },
    },
    parameters: {
      Id: { name: 'id', in: 'path', required: true, schema: id },
      Prefer: {
        name: 'Prefer',
        in: 'header',
        schema: text,
        description:
          '`wait=10`: wait up to so many seconds for the end, as far as the server allows (RFC 7240).',
      },
      IdempotencyKey: {
        name: 'Idempotency-Key',
        in: 'header',
        schema: { type: 'string', minLength: 1, maxLength: 512 },
        description:
          'Stands in for the params as what makes two requests the same; with other params it is refused.',
      },
    },
    responses: Object.fromEntries(
      Object.values(PROBLEMS).map((name) => [
        name,
        { description: MEANING[name], content: content(ref('Problem'), 'application/problem+json') },
      ]),
    ),
    schemas: {
      Ask: {
        type: 'object',
        required: ['name'],
        additionalProperties: false,
        properties: {
          name: { type: 'string', minLength: 1, maxLength: 200 },
          params: { description: 'Any JSON; {} without it.' },
          options: ref('Options'),
        },
      },
      Options: {
        type: 'object',
        properties: {
          delay: duration,
          runAt: time,
          priority: { type: 'integer', minimum: -100, maximum: 100 },
          queue: text,
          refresh: { type: 'boolean', description: 'Run anew, although a result is fresh.' },
          scope: { type: ['string', 'number'], description: 'Deduplicate within this (a tenant, say).' },
          idempotencyKey: { type: 'string', minLength: 1, maxLength: 512 },
          onMismatch: { enum: ['join', 'reject'] },
          traceId: { type: 'string', minLength: 1, maxLength: 512 },
          retries: { type: 'integer', minimum: 0, maximum: 10_000 },
          timeout: duration,
          resultTtl: duration,
          staleTtl: duration,
          failureTtl: duration,
          retention: duration,
          callback: {
            description:
              'Names of tasks that follow, or { name, params, on }; several are a chain. Or URLs to post the outcome to, or { url, on }, where the server allows them.',
          },
        },
      },
      Task: {
        type: 'object',
        required: ['taskId', 'name', 'status', 'queue', 'priority', 'attempt', 'createdAt', 'dueAt'],
        properties: {
          taskId: id,
          name: text,
          status: { enum: ['pending', 'running', 'completed', 'failed', 'cancelled'] },
          outcome: { enum: ['created', 'joined', 'hit', 'stale', 'negative'] },
          sameParams: { const: false, description: 'Another caller with other params shares this run.' },
          refreshId: id,
          queue: text,
          priority: { type: 'integer' },
          attempt: { type: 'integer', minimum: 0 },
          createdAt: time,
          dueAt: time,
          startedAt: time,
          finishedAt: time,
          freshUntil: time,
          traceId: text,
          progress: {},
          result: {},
          error: {
            type: 'object',
            required: ['code', 'message'],
            properties: { code: text, message: text },
          },
          history: { type: 'array', items: { type: 'object' }, description: 'The attempts that failed.' },
        },
      },
      BatchAsk: {
        type: 'object',
        required: ['items'],
        additionalProperties: false,
        properties: {
          items: { type: 'array', maxItems: 10_000, items: ref('Ask') },
          queue: text,
          together: { type: 'boolean', description: 'False: the callbacks are told of each task.' },
          retention: duration,
          then: { description: 'Tasks that follow when all have completed.' },
          catch: { description: 'Tasks that follow when all have ended and not all completed.' },
          finally: { description: 'Tasks that follow when all have ended.' },
        },
      },
      Batch: {
        type: 'object',
        required: ['id', 'total', 'pending', 'completed', 'failed', 'cancelled'],
        properties: {
          id,
          total: { type: 'integer' },
          pending: { type: 'integer' },
          completed: { type: 'integer' },
          failed: { type: 'integer' },
          cancelled: { type: 'integer' },
        },
      },
      Invalidation: {
        type: 'object',
        additionalProperties: false,
        properties: {
          taskId: id,
          name: text,
          params: {},
          scope: { type: ['string', 'number'] },
          idempotencyKey: text,
        },
      },
      Problem: {
        type: 'object',
        required: ['type', 'title', 'status', 'code', 'detail'],
        properties: {
          type: text,
          title: text,
          status: { type: 'integer' },
          code: { type: 'string', description: 'Stable; the words may become clearer.' },
          detail: text,
          reason: text,
          issues: { type: 'array', items: { type: 'object' } },
        },
      },
    },
  },
}

export const OPENAPI = JSON.stringify(DOCUMENT)
