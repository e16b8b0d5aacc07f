import { readFileSync } from 'node:fs'
import type { Fact } from './crash-operations.mjs'

/** A line of the ledger that `crash-worker.mjs` writes. */
export interface LedgerLine {
  readonly begins?: string
  readonly resolved?: string
  readonly refused?: string
  readonly failed?: string
  readonly set?: readonly Fact[]
  readonly gone?: readonly Fact[]
}

/** The facts that must hold for a store after the resolved calls. */
export interface Expected {
  readonly images: ReadonlySet<string>
  /** Image IDs by reference. */
  readonly tags: ReadonlyMap<string, string>
  readonly containers: ReadonlySet<string>
  /** Content of `/synced` by container. */
  readonly files: ReadonlyMap<string, string>
  /** Images, references and containers that were removed. */
  readonly gone: ReadonlySet<string>
}

/** Reads the complete lines. The worker may be writing another. */
export function readLedger(path: string): LedgerLine[] {
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return lines.map((line) => JSON.parse(line) as LedgerLine)
}

/**
 * Folds the first `until` lines into the facts that must hold. Omits the changes of calls that were in progress between
 * them and line `after`, since these may or may not have happened.
 */
export function expected(lines: readonly LedgerLine[], until: number, after: number): Expected {
  const images = new Set<string>()
  const tags = new Map<string, string>()
  const containers = new Set<string>()
  const files = new Map<string, string>()
  const gone = new Set<string>()
  const sets = { image: images, container: containers }
  for (const line of lines.slice(0, until)) {
    for (const { kind, id, value = '' } of line.set ?? []) {
      gone.delete(id)
      if (kind === 'tag') tags.set(id, value)
      else if (kind === 'file') files.set(id, value)
      else sets[kind].add(id)
    }
    for (const { kind, id } of line.gone ?? []) {
      gone.add(id)
      if (kind === 'tag') tags.delete(id)
      else if (kind !== 'file') sets[kind].delete(id)
      if (kind === 'container') files.delete(id)
    }
  }
  const end = lines.findIndex((line, index) => index >= after && line.begins === undefined)
  const uncertain = lines.slice(until, (end === -1 ? lines.length : end) + 1)
  for (const { set = [], gone: left = [] } of uncertain) {
    for (const { id } of [...set, ...left]) {
      for (const facts of [images, tags, containers, files, gone]) facts.delete(id)
    }
  }
  // A call without an end in the ledger may have removed anything.
  if (end === -1)
    return { images: new Set(), tags: new Map(), containers: new Set(), files: new Map(), gone: new Set() }
  return { images, tags, containers, files, gone }
}
