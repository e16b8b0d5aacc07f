import { access, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isDigest, type ImageID } from '../digest.js'
import { writeFileAtomic } from '../durable/atomic-file.js'
import { isErrno, StoreError } from '../errors.js'

/** What the store knows of a container; its content is the writable layer of the same id. */
export interface ContainerRecord {
  /** 64 hex digits. */
  readonly id: string
  readonly name: string
  readonly image: ImageID
  /** RFC 3339. */
  readonly created: string
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/

/** Records of containers: `layerstack/containers/<driver>/<id>.json`. Changed under the store's lock. */
export class ContainerStore {
  readonly #directory: string
  readonly #dockers: string

  /** @param dockers where a dockerd keeps its own: `containers/<id>/` */
  constructor(directory: string, dockers: string) {
    this.#directory = directory
    this.#dockers = dockers
  }

  /** All but the damaged ones. */
  async list(): Promise<ContainerRecord[]> {
    const records = (await this.#ids()).map((id) => this.#read(id))
    return (await Promise.all(records)).filter((record) => record !== undefined && record !== DAMAGED)
  }

  /** Ids of containers whose records are none. */
  async damaged(): Promise<string[]> {
    const ids = await this.#ids()
    const records = await Promise.all(ids.map((id) => this.#read(id)))
    return ids.filter((_, index) => records[index] === DAMAGED)
  }

  async has(id: string): Promise<boolean> {
    return isThere(join(this.#directory, `${id}.json`))
  }

  /** Whether it is a dockerd's. */
  async isDockers(id: string): Promise<boolean> {
    return isThere(join(this.#dockers, id))
  }

  /** By id, by a unique beginning of one, or by name. Throws `CONTAINER_NOT_FOUND`, `REFERENCE_AMBIGUOUS`. */
  async find(idOrName: string): Promise<ContainerRecord> {
    const all = await this.list()
    const exact = all.find(({ id, name }) => id === idOrName || name === idOrName)
    if (exact !== undefined) return exact
    const begun = all.filter(({ id }) => idOrName !== '' && id.startsWith(idOrName))
    if (begun.length > 1)
      throw new StoreError('REFERENCE_AMBIGUOUS', `several containers begin with ${idOrName}`)
    if (begun[0] === undefined)
      throw new StoreError('CONTAINER_NOT_FOUND', `there is no container ${idOrName}`)
    return begun[0]
  }

  async add(record: ContainerRecord): Promise<void> {
    if (!NAME.test(record.name)) {
      throw new StoreError('NAME_INVALID', `not a name of a container: ${JSON.stringify(record.name)}`, {
        hint: 'two or more of a-z A-Z 0-9 _ . -, the first a letter or a digit',
      })
    }
    if ((await this.list()).some(({ name }) => name === record.name)) {
      throw new StoreError('NAME_CONFLICT', `there is a container ${record.name} already`)
    }
    await this.write(record)
  }

  async write(record: ContainerRecord): Promise<void> {
    await writeFileAtomic(join(this.#directory, `${record.id}.json`), `${JSON.stringify(record)}\n`)
  }

  async remove(id: string): Promise<void> {
    await rm(join(this.#directory, `${id}.json`), { force: true })
  }

  async #ids(): Promise<string[]> {
    const files = await readdir(this.#directory).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT')) return []
      throw error
    })
    return files.flatMap((file) => /^([a-f0-9]{64})\.json$/.exec(file)?.[1] ?? [])
  }

  async #read(id: string): Promise<ContainerRecord | typeof DAMAGED | undefined> {
    try {
      const record = JSON.parse(await readFile(join(this.#directory, `${id}.json`), 'utf8')) as unknown
      return isRecord(record) && record.id === id ? record : DAMAGED
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined
      if (error instanceof SyntaxError) return DAMAGED
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
    isDigest(record.image) &&
    typeof record.created === 'string'
  )
}
