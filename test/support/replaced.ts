/** The same object, with some methods of others; the rest work on the object itself, private fields and all. */
export function replaced<T extends object>(
  whole: T,
  methods: { readonly [Name in keyof T]?: T[Name] | undefined },
): T {
  return new Proxy(whole, {
    get(target, name) {
      if (name in methods) return methods[name as keyof T]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
