# What is tried of `docker build`, with the runtime as the engine's default. $1: its name; IMAGE; SHARED: a directory of the host.
section() { echo "--- $*"; }
dir=$SHARED/build
mkdir -p $dir/files
echo copied > $dir/files/f
cat > $dir/Dockerfile <<EOF
FROM $IMAGE
ARG VERSION=3
ENV NAME=value PATH=/opt/bin:/bin
WORKDIR /work/deep
COPY files/ /files/
RUN cat /files/f && echo "\$VERSION" > version && mkdir -p /opt/bin && printf '#!/bin/sh\necho tool "\$@"\n' > /opt/bin/tool && chmod 4755 /opt/bin/tool
RUN tool from the step before && pwd && stat -c '%a %u %n' /opt/bin/tool
RUN echo 'other:x:55:55::/:/bin/sh' >> /etc/passwd && chown 55:56 version && ln -s version link && rm /files/f
USER other
RUN id -u; echo \$NAME; cat link; (echo x > /no) 2>&1 || true
VOLUME /data
CMD ["sh", "-c", "tool run; stat -c '%a %u %g %n' /work/deep/* /opt/bin/tool; ls /files | wc -l"]
EOF
build() { DOCKER_BUILDKIT=0 timeout -k 1 120 docker build --no-cache --network none "$@" 2>&1; }

section steps
build -t made $dir | grep -vE '^ ---> |^Removing|^Successfully built|^Sending|DEPRECATED|^ *(Install|https)|BuildKit|environment-variable|^$' | grep -v 'Running in'

section the image
timeout -k 1 60 docker run --rm --network none made

section a step that fails
printf 'FROM made\nRUN exit 3\nRUN echo never\n' > $dir/Failing
build -f $dir/Failing $dir | grep -oE 'returned a non-zero code: [0-9]+|never'
docker rmi -f made >/dev/null
