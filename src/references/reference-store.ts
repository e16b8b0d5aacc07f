import { rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isDigest, type ImageID } from '../digest.js'
import { removeAbandoned } from '../durable/abandoned.js'
import { writeFileAtomic } from '../durable/atomic-file.js'
import { readFileIfThere } from '../durable/read-file.js'
import { StoreError } from '../errors.js'
import { parseJson } from '../json.js'
import {
  familiarName,
  familiarText,
  isReference,
  parseReference,
  storedForm,
  type Reference,
} from './reference.js'

export interface NamedImage {
  readonly reference: Reference
  readonly id: ImageID
}

/**
 * Image IDs by familiar name (`debian`) and familiar reference (`debian:12`). Docker accepts references that this
 * library does not: digests of other algorithms, hosts with an underscore. Such entries are preserved.
 */
type Repositories = Map<string, Map<string, unknown>>

/** About 400,000 references. */
const MAX_BYTES = 64 << 20

/**
 * Image references: `image/<driver>/repositories.json`, in Docker's form
 * `{"Repositories": {"<familiar name>": {"<familiar reference>": "sha256:<image id>"}}}`.
 *
 * Every call reads the file, because other processes may change it. Calls that change it run under the store's lock and
 * replace the file atomically. A file that is not JSON of this shape is `STORE_CORRUPT`.
 */
export class ReferenceStore {
  readonly #file: string

  constructor(imageDirectory: string) {
    this.#file = join(imageDirectory, 'repositories.json')
  }

  async get(reference: Reference): Promise<ImageID | undefined> {
    const stored = storedForm(reference)
    const id = (await this.#read()).repositories.get(familiarName(stored))?.get(familiarText(stored))
    return isDigest(id) ? (id as ImageID) : undefined
  }

  /**
   * Returns the familiar text of every reference, by image, sorted. Omits entries whose image ID is not a sha256
   * digest.
   */
  async all(): Promise<Map<ImageID, string[]>> {
    const all = new Map<ImageID, string[]>()
    for (const references of (await this.#read()).repositories.values()) {
      for (const [text, id] of references) {
        if (!isDigest(id)) continue
        const texts = all.get(id as ImageID)
        if (texts === undefined) all.set(id as ImageID, [text])
        else texts.push(text)
      }
    }
    return new Map([...all].map(([id, texts]) => [id, texts.toSorted()]))
  }

  /** Points references at images in one write. Rejects like {@link refuse}. */
  async set(entries: readonly NamedImage[]): Promise<void> {
    if (entries.length === 0) return
    const content = await this.#read()
    for (const { reference, id } of entries) {
      const stored = storedForm(reference)
      refuseConflict(content.repositories, stored, id)
      const name = familiarName(stored)
      const references = content.repositories.get(name) ?? new Map<string, unknown>()
      content.repositories.set(name, references.set(familiarText(stored), id))
    }
    await this.#write(content)
  }

  /**
   * Rejects with `REFERENCE_CONFLICT` for a digest that names another image, and with `REFERENCE_INVALID` for a
   * reserved name.
   */
  async refuse(entries: readonly NamedImage[]): Promise<void> {
    if (entries.length === 0) return
    const { repositories } = await this.#read()
    for (const { reference, id } of entries) refuseConflict(repositories, storedForm(reference), id)
  }

  /**
   * Removes references in one write. Ignores absent ones.
   * @param texts references in any form, or texts returned by `all`
   */
  async delete(texts: readonly string[]): Promise<void> {
    const content = await this.#read()
    for (const typed of texts) {
      const stored = isReference(typed) ? storedForm(parseReference(typed)) : undefined
      const text = stored === undefined ? typed : familiarText(stored)
      for (const name of stored === undefined ? content.repositories.keys() : [familiarName(stored)]) {
        const references = content.repositories.get(name)
        if (references?.delete(text) === true && references.size === 0) content.repositories.delete(name)
      }
    }
    await this.#write(content)
  }

  /** Removes temporary files of processes that have ended. */
  tidy(): Promise<void> {
    return removeAbandoned(dirname(this.#file))
  }

  /** Removes the damaged file that `reset` set aside. */
  async forgetDamaged(): Promise<void> {
    await rm(this.#damaged, { force: true })
  }

  /** Starts over without references. The damaged file is set aside until `prune`. */
  async reset(): Promise<void> {
    await rename(this.#file, this.#damaged)
    await this.#write({ repositories: new Map(), others: {} })
  }

  get #damaged(): string {
    return `${this.#file}.damaged`
  }

  async #read(): Promise<FileContent> {
    return parseContent(readFileIfThere(this.#file, MAX_BYTES)?.toString('utf8') ?? '', this.#file)
  }

  async #write({ repositories, others }: FileContent): Promise<void> {
    const byName = [...repositories].map(([name, references]) => [name, Object.fromEntries(references)])
    const document = { ...others, Repositories: Object.fromEntries(byName) as object }
    await writeFileAtomic(this.#file, JSON.stringify(document), { mode: 0o600 })
  }
}

interface FileContent {
  readonly repositories: Repositories
  /** Other fields of the document. */
  readonly others: object
}

/** A tag can move to another image; a digest cannot. */
function refuseConflict(repositories: Repositories, stored: Reference, id: ImageID): void {
  const name = familiarName(stored)
  if (name === 'sha256') {
    throw new StoreError('REFERENCE_INVALID', 'the name "sha256" is reserved: it would look like a digest')
  }
  const text = familiarText(stored)
  if (stored.digest === undefined || (repositories.get(name)?.get(text) ?? id) === id) return
  throw new StoreError(
    'REFERENCE_CONFLICT',
    `${text} already names another image, and a reference with a digest cannot be moved`,
  )
}

/** An empty file, which a crash of an old Docker can leave, means no references. */
function parseContent(text: string, file: string): FileContent {
  const { Repositories: all, ...others } = objectOf(text === '' ? {} : parsed(text, file), file)
  const repositories: Repositories = new Map()
  for (const [name, references] of Object.entries(objectOf(all ?? {}, file))) {
    repositories.set(name, new Map(Object.entries(objectOf(references ?? {}, file))))
  }
  return { repositories, others }
}

function objectOf(value: unknown, file: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  throw corrupt(file)
}

function parsed(text: string, file: string): unknown {
  try {
    return parseJson(text)
  } catch (error) {
    throw corrupt(file, error)
  }
}

function corrupt(file: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `${file} is not a valid list of references`, {
    path: file,
    cause,
    hint: 'restore it from a backup; check({ repair: true }) replaces it, which keeps the images but loses their names',
  })
}
