// The routes of tasks, batches and invalidations in the words of OpenAPI.

import { content, header, id, parameter, problem, ref, text } from './openapi-parts.ts'

export const PATHS = {
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
        ...problem(400, 401, 409, 413, 415, 422, 503),
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
}
