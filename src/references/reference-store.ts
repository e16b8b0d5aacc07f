import { rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isDigest, parseDigest, type ImageID } from '../digest.js'
import { removeAbandoned } from '../durable/abandoned.js'
import { writeFileAtomic } from '../durable/atomic-file.js'
import { readFileIfThere } from '../durable/read-file.js'
import { StoreError } from '../errors.js'
import { familiarName, familiarText, isReference, storedForm, type Reference } from './reference.js'

export interface NamedImage {
  readonly reference: Reference
  readonly id: ImageID
}

/** `{"<familiar name>": {"<familiar reference>": "sha256:<image id>"}}`, as Docker writes it. */
type Repositories = Record<string, Record<string, string>>

/**
 * Names of images: `image/<driver>/repositories.json`. The file is read at each call, since other processes may change
 * it; calls that change it are made under the store's lock, and replace the file whole.
 */
export class ReferenceStore {
  readonly #file: string

  constructor(imageDirectory: string) {
    this.#file = join(imageDirectory, 'repositories.json')
  }

  async get(reference: Reference): Promise<ImageID | undefined> {
    const stored = storedForm(reference)
    const id = (await this.#read())[familiarName(stored)]?.[familiarText(stored)]
    return id === undefined ? undefined : parseDigest<ImageID>(id)
  }

  /** Familiar texts of all references, by image, sorted. */
  async all(): Promise<Map<ImageID, string[]>> {
    const all = new Map<ImageID, string[]>()
    for (const references of Object.values(await this.#read())) {
      for (const [text, id] of Object.entries(references)) {
        const imageId = parseDigest<ImageID>(id)
        all.set(imageId, [...(all.get(imageId) ?? []), text].toSorted())
      }
    }
    return all
  }

  /** Points references at images, all in one write. Throws as {@link refuse}. */
  async set(entries: readonly NamedImage[]): Promise<void> {
    if (entries.length === 0) return
    const repositories = await this.#read()
    for (const { reference, id } of entries) {
      const stored = storedForm(reference)
      refuseConflict(repositories, stored, id)
      const references = (repositories[familiarName(stored)] ??= {})
      references[familiarText(stored)] = id
    }
    await this.#write(repositories)
  }

  /** Throws `REFERENCE_CONFLICT` for a digest that names another image, and `REFERENCE_INVALID` for a reserved name. */
  async refuse(entries: readonly NamedImage[]): Promise<void> {
    const repositories = entries.length === 0 ? {} : await this.#read()
    for (const { reference, id } of entries) refuseConflict(repositories, storedForm(reference), id)
  }

  /** Takes references away, all in one write. Those that are not there are no error. */
  async delete(references: readonly Reference[]): Promise<void> {
    const repositories = await this.#read()
    for (const reference of references) {
      const stored = storedForm(reference)
      const name = familiarName(stored)
      const inRepository = repositories[name]
      if (inRepository === undefined) continue
      delete inRepository[familiarText(stored)]
      if (Object.keys(inRepository).length === 0) delete repositories[name]
    }
    await this.#write(repositories)
  }

  /** Clears temporary files of processes that have ended. */
  tidy(): Promise<void> {
    return removeAbandoned(dirname(this.#file))
  }

  /** Removes the damaged file that `reset` set aside. */
  async forgetDamaged(): Promise<void> {
    await rm(this.#damaged, { force: true })
  }

  /** Begins anew without names. The damaged file is set aside until `prune`. */
  async reset(): Promise<void> {
    await rename(this.#file, this.#damaged)
    await this.#write({})
  }

  get #damaged(): string {
    return `${this.#file}.damaged`
  }

  async #read(): Promise<Repositories> {
    const text = readFileIfThere(this.#file)?.toString('utf8') ?? '{}'
    return parseRepositories(text, this.#file)
  }

  async #write(repositories: Repositories): Promise<void> {
    await writeFileAtomic(this.#file, JSON.stringify({ Repositories: repositories }), { mode: 0o600 })
  }
}

/** A tag moves; a digest never does. */
function refuseConflict(repositories: Repositories, stored: Reference, id: ImageID): void {
  refuseReserved(stored)
  const text = familiarText(stored)
  const named = stored.digest === undefined ? undefined : repositories[familiarName(stored)]?.[text]
  if (named === undefined || named === id) return
  throw new StoreError('REFERENCE_CONFLICT', `${text} already names another image: a digest cannot be moved`)
}

function refuseReserved(reference: Reference): void {
  if (familiarName(reference) === 'sha256') {
    throw new StoreError('REFERENCE_INVALID', 'the name "sha256" is reserved: it would be taken for a digest')
  }
}

/** An empty file is what a crash of an old Docker leaves; it stands for no references. */
function parseRepositories(text: string, file: string): Repositories {
  const parsed = parseJson(text === '' ? '{}' : text, file)
  const repositories = (parsed as { Repositories?: unknown } | null)?.Repositories ?? {}
  for (const references of Object.values(repositories)) {
    for (const [reference, id] of Object.entries((references ?? {}) as Record<string, unknown>)) {
      if (!isReference(reference) || !isDigest(id)) throw corrupt(file)
    }
  }
  return repositories as Repositories
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw corrupt(file, error)
  }
}

function corrupt(file: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `${file} is not what Docker or this library writes`, {
    path: file,
    cause,
    hint: 'restore it from a backup, or check({ repair: true }) begins anew: images stay, their names are lost',
  })
}
