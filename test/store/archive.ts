import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { pack } from 'tar-stream'

export interface Entry {
  readonly name: string
  readonly content?: string
  readonly type?: 'file' | 'directory' | 'symlink' | 'link'
  readonly linkname?: string
  readonly mode?: number
}

/** A layer's tar, made by tar-stream, independently of this library. */
export async function layerTar(entries: readonly Entry[]): Promise<Buffer> {
  const tar = pack()
  for (const { content = '', ...header } of entries)
    tar.entry({ ...header, mtime: new Date(1_600_000_000_000) }, content)
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

export interface ArchiveParts {
  readonly config: Buffer
  readonly manifest: Buffer
  readonly layers: ReadonlyMap<string, Buffer>
}

/** The parts of a docker-archive of one image. A test may damage one before it writes them. */
export function imageOf(layers: readonly Buffer[], tag = 'test/app:1'): ArchiveParts {
  const diffIds = layers.map(digestOf)
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['/bin/sh'], Env: ['PATH=/bin'] },
      created: '2020-09-13T12:26:40Z',
      history: layers.map((_, index) => ({ created_by: `step ${index}` })),
      rootfs: { type: 'layers', diff_ids: diffIds },
    }),
  )
  const names = layers.map((_, index) => `${index}/layer.tar`)
  const manifest = Buffer.from(JSON.stringify([{ Config: 'config.json', RepoTags: [tag], Layers: names }]))
  return { config, manifest, layers: new Map(names.map((name, index) => [name, layers[index] as Buffer])) }
}

export async function writeArchive(path: string, { config, manifest, layers }: ArchiveParts): Promise<void> {
  const tar = pack()
  for (const [name, bytes] of layers) tar.entry({ name }, bytes)
  tar.entry({ name: 'config.json' }, config)
  tar.entry({ name: 'manifest.json' }, manifest)
  tar.finalize()
  const file = tar.pipe(createWriteStream(path))
  await once(file, 'finish')
}

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
