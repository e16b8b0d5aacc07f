import { pack, type Header } from 'tar-stream'

export interface Entry extends Partial<Header> {
  readonly name: string
  readonly content?: Buffer | string
}

/** A tar made by tar-stream, independently of this library. */
export async function tarOf(entries: Iterable<Entry>): Promise<Buffer> {
  const tar = pack()
  const chunks: Buffer[] = []
  const read = (async () => {
    for await (const chunk of tar) chunks.push(chunk as Buffer)
  })()
  for (const { content = '', ...headers } of entries) {
    tar.entry({ mtime: new Date(1_500_000_000_000), uid: 0, gid: 0, ...headers }, content)
  }
  tar.finalize()
  await read
  return Buffer.concat(chunks)
}

/** Files in directories of 100, for a job that takes a while. */
export function* manyFiles(count: number, size = 100): Generator<Entry> {
  for (let index = 0; index < count; index++) {
    if (index % 100 === 0) yield { name: `d${index / 100}`, type: 'directory', mode: 0o755 }
    yield {
      name: `d${Math.floor(index / 100)}/f${index}`,
      mode: 0o644,
      content: Buffer.alloc(size, `${index} `),
    }
  }
}
