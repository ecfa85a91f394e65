// The schemas of the OpenAPI document.

import { duration, id, ref, text, time } from './openapi-parts.ts'

export const SCHEMAS = {
  Item: {
    type: 'object',
    required: ['name', 'run'],
    additionalProperties: false,
    properties: {
      name: { type: 'string', minLength: 1, maxLength: 200 },
      params: ref('Params'),
      options: ref('Options'),
      run: ref('RunPart'),
    },
  },
  Params: {
    description:
      'Any JSON; {} without it. A tag stands for a value that JSON lacks: {"$deferq":["Date","2024-01-01T00:00:00.000Z"]}, ' +
      '["BigInt","0x1f"], ["bytes",base64], ["Map",[[key,value],…]], ["Set",[…]], ["undefined"].',
  },
  RunPart: {
    type: 'string',
    pattern: '^[0-9a-f]{24}$',
    description:
      'Random, and the same when the item is sent again. It becomes the end of the id of a new run.',
  },
  Answer: {
    description: 'How an item was admitted, or the problem with it.',
    oneOf: [
      {
        type: 'object',
        required: ['outcome', 'sameParams', 'run'],
        properties: {
          outcome: { enum: ['created', 'joined', 'hit', 'stale', 'negative'] },
          sameParams: {
            type: 'boolean',
            description: 'False: another caller with other params shares this run.',
          },
          refreshId: id,
          run: ref('Run'),
        },
      },
      { type: 'object', required: ['error'], properties: { error: ref('Problem') } },
    ],
  },
  Run: {
    type: 'object',
    description:
      'A run as a record. Moments are milliseconds since 1970; `progress`, `result`, `meta` and `params` are the JSON texts of values, ' +
      'with tags as in params; each of `errors` is the JSON text of a failed attempt.',
    required: ['id', 'name', 'queue', 'status', 'priority', 'attempt', 'createdAt', 'dueAt', 'errors'],
    properties: {
      id,
      name: text,
      queue: text,
      status: { enum: ['pending', 'running', 'completed', 'failed', 'cancelled'] },
      priority: { type: 'integer' },
      attempt: { type: 'integer', minimum: 0 },
      createdAt: { type: 'integer' },
      dueAt: { type: 'integer' },
      startedAt: { type: 'integer' },
      finishedAt: { type: 'integer' },
      freshUntil: { type: 'integer' },
      staleUntil: { type: 'integer' },
      traceId: text,
      meta: text,
      params: { type: 'string', description: 'Of a batch only: its members.' },
      progress: text,
      result: text,
      errors: { type: 'array', items: text },
    },
  },
  Ask: {
    type: 'object',
    required: ['name'],
    additionalProperties: false,
    properties: {
      name: { type: 'string', minLength: 1, maxLength: 200 },
      params: ref('Params'),
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
      taskIds: { type: 'array', items: id, description: 'Of its tasks, in their order.' },
    },
  },
  Invalidation: {
    type: 'object',
    additionalProperties: false,
    properties: {
      taskId: id,
      name: text,
      params: ref('Params'),
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
      index: { type: 'integer', minimum: 0, description: 'Which item of the request was refused.' },
      taskId: { ...id, description: 'The run that stands in the way.' },
      runStatus: {
        description: 'How that run stands.',
        enum: ['pending', 'running', 'completed', 'failed', 'cancelled'],
      },
    },
  },
}
