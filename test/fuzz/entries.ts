import { createHash } from 'node:crypto'
import type { TarHeader } from '#layerstack/tar/part.js'
import { TarReader } from '#layerstack/tar/reader.js'

/** The entries of a tar, one line each. `time` formats the mtime. */
export function entriesOf(tar: Uint8Array, time: Time): Entry[] {
  const entries: { header: TarHeader; content: Uint8Array[] }[] = []
  const reader = new TarReader()
  for (const part of reader.push(tar)) {
    if (part.type === 'header') entries.push({ header: part.header, content: [] })
    if (part.type === 'content') entries.at(-1)?.content.push(part.bytes)
  }
  for (const _ of reader.end());
  return entries.map(({ header, content }) => ({
    path: header.name.replace(/\/$/, ''),
    line: lineOf(header, Buffer.concat(content), time),
  }))
}

type Time = (header: Pick<TarHeader, 'type' | 'mtimeNs'>) => string

export interface Entry {
  readonly path: string
  readonly line: string
}

function lineOf(header: TarHeader, content: Buffer, time: Time): string {
  const { name, type, mode, uid, gid, size, linkName, device, xattrs } = header
  const kept = [...xattrs].map(([key, value]) => `${key}=${value.toString('hex')}`)
  const digest = createHash('sha256').update(content).digest('hex').slice(0, 12)
  const words = [name, type, mode.toString(8), `${uid}:${gid}`, time(header), ...kept]
  if (linkName !== '') words.push(`-> ${linkName}`)
  if (type === 'file') words.push(`${size} ${size > 0 ? digest : ''}`)
  if (type === 'char' || type === 'block') words.push(`${device.major}:${device.minor}`)
  return words.join(' ')
}
