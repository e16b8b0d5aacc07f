import { readFileSync } from 'node:fs'
import { realpath, rm } from 'node:fs/promises'
import { run } from './program.js'

/** Returns mount points at or below a directory, the deepest first. Empty without /proc. */
export function mountsBelow(directory: string): string[] {
  return mountPoints().filter((point) => point === directory || point.startsWith(`${directory}/`))
}

/** Detaches every mount at or below a directory. */
export async function unmountBelow(directory: string): Promise<void> {
  const real = await realpath(directory).catch(() => directory)
  for (const point of mountsBelow(real)) await run('umount', ['-l', point])
}

/** Removes a directory and everything in it, also if something is mounted below it or its modes deny access. */
export async function removeTree(directory: string): Promise<void> {
  await unmountBelow(directory)
  try {
    await rm(directory, { recursive: true, force: true })
  } catch {
    await run('chmod', ['-R', 'u+rwX', directory]).catch(() => undefined)
    await rm(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

function mountPoints(): string[] {
  let table: string
  try {
    table = readFileSync('/proc/self/mountinfo', 'latin1')
  } catch {
    return []
  }
  return table
    .split('\n')
    .map((line) => line.split(' ')[4])
    .filter((point) => point !== undefined)
    .map(unescapeOctal)
    .toReversed()
}

function unescapeOctal(field: string): string {
  const bytes = field.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCodePoint(parseInt(octal, 8)),
  )
  return Buffer.from(bytes, 'latin1').toString()
}
