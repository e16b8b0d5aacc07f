import { access, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isDigest, type ImageID } from '../digest.js'
import { namesIn, removeAbandoned } from '../durable/abandoned.js'
import { writeFileAtomic } from '../durable/atomic-file.js'
import { readFileIfThere } from '../durable/read-file.js'
import { StoreError } from '../errors.js'
import { parseJson } from '../json.js'
import { mapYielding } from '../event-loop.js'

/** The store's record of a container. Its content is the writable layer with the same ID. */
export interface ContainerRecord {
  /** 64 hex digits. */
  readonly id: string
  readonly name: string
  readonly image: ImageID
  /** RFC 3339. */
  readonly created: string
}

const MAX_RECORD = 1 << 20
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/

/** Container records: `layerstack/containers/<driver>/<id>.json`. Changed under the store's lock. */
export class ContainerStore {
  readonly #directory: string
  readonly #dockers: string
  /** Records as last read. A record never changes, except that a repair rewrites a damaged one. */
  readonly #known = new Map<string, ContainerRecord>()

  /** @param dockers directory where dockerd keeps its own containers: `containers/<id>/` */
  constructor(directory: string, dockers: string) {
    this.#directory = directory
    this.#dockers = dockers
  }

  /** Returns all undamaged records. Does not reread known records whose files still exist. */
  async list(): Promise<ContainerRecord[]> {
    const ids = this.#ids()
    this.#forgetAllBut(ids)
    await mapYielding(
      ids.filter((id) => !this.#known.has(id)),
      (id) => this.#read(id),
    )
    return ids.map((id) => this.#known.get(id)).filter((record) => record !== undefined)
  }

  /** Returns the IDs of containers with damaged records. */
  async damaged(): Promise<string[]> {
    const ids = this.#ids()
    const records = await mapYielding(ids, (id) => this.#read(id))
    return ids.filter((_, index) => records[index] === DAMAGED)
  }

  async has(id: string): Promise<boolean> {
    return isThere(join(this.#directory, `${id}.json`))
  }

  /** Whether the container belongs to dockerd. */
  async isDockers(id: string): Promise<boolean> {
    return isThere(join(this.#dockers, id))
  }

  /**
   * Finds a container by ID, by a unique prefix of an ID, or by name. Rejects with `CONTAINER_NOT_FOUND` or
   * `REFERENCE_AMBIGUOUS`.
   */
  async find(idOrName: string): Promise<ContainerRecord> {
    const all = await this.list()
    const exact = all.find(({ id, name }) => id === idOrName || name === idOrName)
    if (exact !== undefined) return exact
    const begun = all.filter(({ id }) => idOrName !== '' && id.startsWith(idOrName))
    if (begun.length > 1)
      throw new StoreError('REFERENCE_AMBIGUOUS', `several container IDs begin with ${idOrName}`)
    if (begun[0] === undefined) throw new StoreError('CONTAINER_NOT_FOUND', `no such container: ${idOrName}`)
    return begun[0]
  }

  async add(record: ContainerRecord): Promise<void> {
    if (!NAME.test(record.name)) {
      throw new StoreError('NAME_INVALID', `invalid container name: ${JSON.stringify(record.name)}`, {
        hint: 'a name has two or more of a-z A-Z 0-9 _ . -, and begins with a letter or a digit',
      })
    }
    if ((await this.list()).some(({ name }) => name === record.name)) {
      throw new StoreError('NAME_CONFLICT', `container ${record.name} already exists`)
    }
    await this.write(record)
  }

  async write(record: ContainerRecord): Promise<void> {
    await writeFileAtomic(join(this.#directory, `${record.id}.json`), `${JSON.stringify(record)}\n`)
    this.#known.set(record.id, record)
  }

  async remove(id: string): Promise<void> {
    await rm(join(this.#directory, `${id}.json`), { recursive: true, force: true })
    this.#known.delete(id)
  }

  /** Removes temporary files of processes that have ended. */
  tidy(): Promise<void> {
    return removeAbandoned(this.#directory)
  }

  #ids(): string[] {
    return namesIn(this.#directory).flatMap((file) => /^([a-f0-9]{64})\.json$/.exec(file)?.[1] ?? [])
  }

  #forgetAllBut(ids: readonly string[]): void {
    const there = new Set(ids)
    for (const id of this.#known.keys()) if (!there.has(id)) this.#known.delete(id)
  }

  #read(id: string): ContainerRecord | typeof DAMAGED | undefined {
    this.#known.delete(id)
    try {
      const bytes = readFileIfThere(join(this.#directory, `${id}.json`), MAX_RECORD)
      if (bytes === undefined) return undefined
      const record: unknown = parseJson(bytes.toString('utf8'))
      if (!isRecord(record) || record.id !== id) return DAMAGED
      this.#known.set(id, record)
      return record
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof StoreError) return DAMAGED
      throw error
    }
  }
}

const DAMAGED = Symbol('damaged')

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

function isRecord(value: unknown): value is ContainerRecord {
  const record = value as ContainerRecord | null
  return (
    typeof record?.id === 'string' &&
    typeof record.name === 'string' &&
    NAME.test(record.name) &&
    isDigest(record.image) &&
    typeof record.created === 'string'
  )
}
