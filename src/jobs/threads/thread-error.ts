import { StoreError, type StoreErrorCode } from '../../errors.js'

/** An error as plain data: `postMessage` keeps little more than the message of an error. */
export interface PackedError {
  readonly type: 'store' | 'type' | 'system'
  readonly name: string
  readonly message: string
  readonly stack?: string | undefined
  /** `code`, `hint`, `path`, `errno`, `syscall` …, if they are strings or numbers. */
  readonly fields: Readonly<Record<string, string | number>>
  readonly cause?: PackedError | undefined
}

export function packError(error: unknown): PackedError {
  if (!(error instanceof Error)) return packError(new Error(String(error)))
  const { name, message, stack, cause } = error
  return {
    type: error instanceof StoreError ? 'store' : error instanceof TypeError ? 'type' : 'system',
    name,
    message,
    stack,
    fields: fieldsOf(error),
    cause: cause === undefined ? undefined : packError(cause),
  }
}

export function unpackError(packed: PackedError): Error {
  const error = revive(packed)
  if (packed.stack !== undefined) Object.defineProperty(error, 'stack', { value: packed.stack })
  return error
}

function revive(packed: PackedError): Error {
  const { message, fields } = packed
  const cause = packed.cause === undefined ? {} : { cause: unpackError(packed.cause) }
  switch (packed.type) {
    case 'store':
      return new StoreError(fields['code'] as StoreErrorCode, message, { ...fields, ...cause })
    case 'type':
      return Object.assign(new TypeError(message, cause), fields)
    case 'system':
      return Object.assign(new Error(message, cause), fields, { name: packed.name })
  }
}

function fieldsOf(error: Error): Record<string, string | number> {
  const fields: Record<string, string | number> = {}
  for (const [key, value] of Object.entries(error)) {
    if (key === 'name') continue
    if (typeof value === 'string' || typeof value === 'number') fields[key] = value
    else if (Buffer.isBuffer(value)) fields[key] = value.toString()
  }
  return fields
}
